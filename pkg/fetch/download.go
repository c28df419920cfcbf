// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/progress"
)

// download is the transfer of one archive. The partial file is locked all the
// time, so that a URL is downloaded once however many ask for it.
type download struct {
	*run
	url    *url.URL
	client *http.Client
	part   *partial
	known  Remote
	source source
	verify *verifier // nil: not to be verified
	// headLength is what HEAD said of the whole, -1 if it did not.
	headLength int64
}

// download brings the archive at a URL. before is what was known of it when
// the decision to download was made.
func (r *run) download(ctx context.Context, s source, before Remote) (appc.ImageID, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return "", err
	}
	if s.sigURL == "" {
		s.sigURL = signatureURL(u)
	}
	part, waited, err := r.lockPartial(ctx, s.url)
	if err != nil {
		return "", err
	}
	defer part.close()
	known, ok, err := r.Store.Remote(s.url)
	if err != nil {
		return "", err
	}
	if !ok {
		known = Remote{}
	}
	if ok && waited && !known.Downloaded.Equal(before.Downloaded) {
		if part.size == 0 {
			part.remove()
		}
		return known.Key, nil
	}
	tr := r.newTransport()
	defer tr.CloseIdleConnections()
	d := &download{
		run: r, url: u, part: part, known: known, source: s,
		client: &http.Client{Transport: &headers{inner: r.watched(tr), userAgent: r.userAgent()}, CheckRedirect: checkRedirect},
	}
	if d.verify, err = d.verifier(ctx); err != nil {
		d.keep()
		return "", err
	}
	r.debug("fetching image from %s", s.url)
	return d.transfer(ctx)
}

// transfer resumes what is there and starts over, once, if that does not make
// an image.
func (d *download) transfer(ctx context.Context) (appc.ImageID, error) {
	if err := d.prepareResume(ctx); err != nil {
		return "", err
	}
	resumed := d.part.size > 0
	id, err := d.attempt(ctx)
	if err == nil {
		return id, nil
	}
	var broken *brokenError
	if errors.As(err, &broken) {
		d.keep()
		return "", err
	}
	if rerr := d.part.reset(); rerr != nil {
		return "", errors.Join(err, rerr)
	}
	if !resumed || ctx.Err() != nil {
		d.part.remove()
		return "", err
	}
	d.message("resumed download is not usable (%v), starting over", err)
	id, err = d.attempt(ctx)
	switch {
	case errors.As(err, &broken):
		d.keep()
	case err != nil:
		d.part.remove()
	}
	return id, err
}

// keep leaves what was received for the next try.
func (d *download) keep() {
	if d.part.size == 0 {
		d.part.remove()
	}
}

// prepareResume keeps the partial file if the server can continue it, and
// empties it otherwise.
func (d *download) prepareResume(ctx context.Context) error {
	d.headLength = -1
	if d.part.size == 0 {
		return nil
	}
	resp, err := d.do(ctx, http.MethodHead, nil)
	if err != nil {
		return &brokenError{err}
	}
	_ = resp.Body.Close()
	if why := d.cannotResume(resp); why != "" {
		d.message("%s", why)
		return d.part.reset()
	}
	d.headLength = resp.ContentLength
	return nil
}

func (d *download) cannotResume(head *http.Response) string {
	if head.StatusCode != http.StatusOK {
		return fmt.Sprintf("bad HTTP status code from HEAD request: %d", head.StatusCode)
	}
	if head.Header.Get("Accept-Ranges") != "bytes" {
		return "cannot use cached partial download, range request unsupported."
	}
	if !d.part.isOf(head.Header) {
		return "cannot use cached partial download, resource updated."
	}
	if head.ContentLength >= 0 && head.ContentLength < d.part.size {
		return "cannot use cached partial download, resource updated."
	}
	return ""
}

func (d *download) do(ctx context.Context, method string, header http.Header) (*http.Response, error) {
	u := *d.url
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	d.authorize(req)
	return send(d.client, req)
}

// attempt is one GET, and one more from zero if the server does not have the
// range that was asked for.
func (d *download) attempt(ctx context.Context) (appc.ImageID, error) {
	header := http.Header{}
	switch {
	case d.part.size > 0:
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.part.size))
	case d.known.ETag != "":
		header.Set("If-None-Match", d.known.ETag)
	}
	resp, err := d.do(ctx, http.MethodGet, header)
	if err != nil {
		return "", &brokenError{err}
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return d.receive(ctx, resp)
	case http.StatusPartialContent:
		if d.part.size > 0 && startsAt(resp.Header, d.part.size) {
			return d.receive(ctx, resp)
		}
	case http.StatusNotModified:
		if d.part.size == 0 && d.known.ETag != "" {
			return d.notModified(resp)
		}
	case http.StatusRequestedRangeNotSatisfiable:
	default:
		return "", &brokenError{&statusError{resp.StatusCode}}
	}
	if d.part.size == 0 {
		return "", &statusError{resp.StatusCode}
	}
	if err := d.part.reset(); err != nil {
		return "", err
	}
	return d.attempt(ctx)
}

func (d *download) notModified(resp *http.Response) (appc.ImageID, error) {
	d.part.remove()
	known := d.known
	known.Downloaded = time.Now()
	if resp.Header.Get("Cache-Control") != "" {
		known.MaxAge = maxAge(resp.Header)
	}
	if err := d.Store.RefreshRemote(known); err != nil {
		return "", err
	}
	return known.Key, nil
}

// receive imports the archive while it arrives; what arrives also goes into
// the partial file, which the store then adopts.
func (d *download) receive(ctx context.Context, resp *http.Response) (appc.ImageID, error) {
	body := io.Reader(resp.Body)
	if d.part.size > 0 && resp.StatusCode == http.StatusOK {
		whole, replay, err := d.isWhole(resp)
		if err != nil {
			return "", &brokenError{err}
		}
		if whole {
			if err := d.part.reset(); err != nil {
				return "", err
			}
		}
		body = replay
	}
	total := int64(-1)
	if resp.ContentLength >= 0 {
		total = d.part.size + resp.ContentLength
	}
	if err := d.checkSpace(resp.ContentLength, total); err != nil {
		return "", err
	}
	if err := d.part.begin(resp.Header.Get("ETag")); err != nil {
		return "", err
	}
	bar := d.display.Bar(progress.Options{Name: "ACI", Total: total})
	defer bar.Done()
	bar.Set(d.part.size)
	in := &intake{part: d.part, body: bar.Reader(body), expected: total}
	id, err := d.Store.ImportACI(ctx, d.verify.reader(io.MultiReader(d.part.received(), in)), ImportOptions{
		Latest: d.source.latest,
		Accept: d.verify.accepter(),
		Remote: &Remote{
			URL: d.url.String(), SigURL: d.source.sigURL, ETag: resp.Header.Get("ETag"),
			MaxAge: maxAge(resp.Header), Downloaded: time.Now(),
		},
		Adopt: d.part.path,
	})
	if in.broken != nil {
		return "", &brokenError{in.broken}
	}
	if err != nil {
		return "", explainEncoding(resp.Header, err)
	}
	d.part.remove()
	return id, nil
}

// explainEncoding says what is wrong with an archive that a server compressed
// once more on the way, though it was asked not to. The sums of such bytes
// would not be those of the archive, so they are not decoded.
func explainEncoding(h http.Header, err error) error {
	encoding := h.Get("Content-Encoding")
	if encoding == "" || strings.EqualFold(encoding, "identity") {
		return err
	}
	return fmt.Errorf("server sent Content-Encoding %q though identity was asked for: %w", encoding, err)
}

// checkSpace refuses what cannot fit before it is downloaded.
func (d *download) checkSpace(missing, total int64) error {
	if total > maxArchive {
		return fmt.Errorf("archive of %s is larger than the limit of %s", progress.Size(total), progress.Size(maxArchive))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Store.TempDir(), &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", d.Store.TempDir(), err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; missing > free {
		return fmt.Errorf("archive of %s does not fit into the %s free in %s: %w",
			progress.Size(missing), progress.Size(free), d.Store.TempDir(), unix.ENOSPC)
	}
	return nil
}

// brokenError is a transfer that failed on the way: what was received is good.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }
