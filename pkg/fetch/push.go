// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociarchive"
)

// What a token is asked for.
const (
	actionsPull = "pull"
	actionsPush = "pull,push"
)

// Push brings an image to a registry. What the registry has already is not
// sent again, so a push that broke goes on where it was. The manifest comes last.
func (f *Fetcher) Push(ctx context.Context, image *ociarchive.Image, ref distribution.Docker) error {
	if ref.Digest != "" {
		return fmt.Errorf("cannot push to %q: the digest follows from the image", ref.Text)
	}
	r, err := f.newRun(ImageOptions{})
	if err != nil {
		return err
	}
	defer r.close()
	endpoints, err := r.endpoints(ref)
	if err != nil {
		return err
	}
	g, err := r.connect(ctx, endpoints[len(endpoints)-1], actionsPush) // no mirror
	if err != nil {
		return err
	}
	defer g.close()
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.concurrent())
	sent := map[string]bool{}
	for _, b := range append(image.Layers[:len(image.Layers):len(image.Layers)], image.Config) {
		if sent[b.Digest] {
			continue
		}
		sent[b.Digest] = true
		group.Go(func() error {
			if err := g.pushBlob(gctx, b); err != nil {
				return fmt.Errorf("blob %s: %w", b.Digest, g.hint(err))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := g.pushManifest(ctx, image.Manifest, ref.Tag); err != nil {
		return fmt.Errorf("manifest: %w", g.hint(err))
	}
	return nil
}

// pushBlob sends one blob unless the registry has it.
func (g *registryConn) pushBlob(ctx context.Context, b ociarchive.Blob) error {
	return g.persist(ctx, short(b.Digest), func() error {
		have, err := g.has(ctx, b)
		if err != nil {
			return err
		}
		if have {
			g.run.debug("the registry has %s", short(b.Digest))
			return nil
		}
		if err := g.upload(ctx, b); err != nil {
			return err
		}
		g.run.debug("pushed %s", short(b.Digest))
		return nil
	})
}

// persist does something again for as long as its failure may pass.
func (g *registryConn) persist(ctx context.Context, what string, do func() error) error {
	for failures := 1; ; failures++ {
		err := do()
		if err == nil || failures >= attempts || ctx.Err() != nil || !worthAnother(err) {
			return err
		}
		g.run.debug("%s broke (%v), trying again", what, err)
		if err := g.run.sleeper()(ctx, backOff(failures-1)); err != nil {
			return err
		}
	}
}

// sourceFault is a blob that cannot be read here.
type sourceFault struct{ err error }

func (e *sourceFault) Error() string { return e.err.Error() }
func (e *sourceFault) Unwrap() error { return e.err }

// worthAnother tells whether a failure may pass.
func worthAnother(err error) bool {
	var code *codeError
	var source *sourceFault
	switch {
	case errors.As(err, &source), errors.Is(err, errTokenRefused), errors.Is(err, errLocation):
		return false
	case errors.As(err, &code):
		return code.Code >= 500 || code.Code == http.StatusTooManyRequests || code.Code == http.StatusRequestTimeout ||
			code.Code == http.StatusNotFound // an upload that was forgotten
	}
	return mayPass(err)
}

func (g *registryConn) has(ctx context.Context, b ociarchive.Blob) (bool, error) {
	resp, err := g.request(ctx, http.MethodHead, g.url("blobs", b.Digest), nil)
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.ContentLength < 0 || resp.ContentLength == b.Size, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, unexpectedCode(resp.StatusCode, resp.Request.URL, nil)
}

var errLocation = errors.New("the registry does not say where to upload to")

// upload sends a blob in one piece.
func (g *registryConn) upload(ctx context.Context, b ociarchive.Blob) error {
	resp, err := g.request(ctx, http.MethodPost, g.url("blobs", "uploads/"), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return unexpectedCode(resp.StatusCode, resp.Request.URL, resp.Body)
	}
	location := resp.Header.Get("Location")
	if location == "" || len(location) > maxLocation {
		return errLocation
	}
	to, err := resp.Request.URL.Parse(location)
	if err != nil {
		return errLocation
	}
	q := to.Query()
	q.Set("digest", b.Digest)
	to.RawQuery = q.Encode()
	return g.put(ctx, to, "application/octet-stream", b)
}

// put sends a body. What is wrong with the body here is a sourceFault.
func (g *registryConn) put(ctx context.Context, to *url.URL, mediaType string, b ociarchive.Blob) error {
	var fault atomic.Pointer[sourceFault] // the transport reads in a goroutine of its own
	open := func() (io.ReadCloser, error) {
		in, err := b.Open()
		if err != nil {
			fault.Store(&sourceFault{err})
			return nil, err
		}
		return readCloser{readerFunc(func(p []byte) (int, error) {
			n, err := in.Read(p)
			if err != nil && !errors.Is(err, io.EOF) {
				fault.Store(&sourceFault{err})
			}
			return n, err
		}), in}, nil
	}
	body, err := open()
	if err != nil {
		return &sourceFault{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to.String(), body)
	if err != nil {
		_ = body.Close()
		return err
	}
	req.ContentLength, req.GetBody = b.Size, open
	if b.Size == 0 {
		_ = body.Close()
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := send(g.client, req)
	if err != nil {
		if f := fault.Load(); f != nil {
			return f
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return unexpectedCode(resp.StatusCode, resp.Request.URL, resp.Body)
	}
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != b.Digest {
		return &digestError{Want: b.Digest, Got: got}
	}
	return nil
}

func (g *registryConn) pushManifest(ctx context.Context, m ociarchive.Blob, tag string) error {
	to, err := url.Parse(g.url("manifests", tag))
	if err != nil {
		return err
	}
	return g.persist(ctx, "manifest", func() error { return g.put(ctx, to, m.MediaType, m) })
}
