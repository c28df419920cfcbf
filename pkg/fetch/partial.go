// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// partial is the file a URL is downloaded to: TempDir/<key of the URL>, with
// the ETag of what it holds in a file beside it. It is locked while it is open.
type partial struct {
	path string
	lock *lock.Lock
	f    *os.File
	size int64 // bytes that were received
}

const (
	etagSuffix = ".etag"
	maxETag    = 4096
)

// lockPartial opens the partial file for a URL. It tells whether somebody else
// had it first.
func (r *run) lockPartial(ctx context.Context, rawURL string) (*partial, bool, error) {
	sum := sha512.Sum512([]byte(rawURL))
	dir, key := r.Store.TempDir(), appc.ImageIDFromSum(sum[:]).Key().String()
	waited := false
	l, err := lock.TryKey(dir, key, lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) {
		waited = true
		r.message("another rkt instance is downloading this file, waiting...")
		l, err = lock.Key(ctx, dir, key, lock.Exclusive)
	}
	if err != nil {
		return nil, waited, fmt.Errorf("partial download: %w", err)
	}
	p := &partial{path: filepath.Join(dir, key), lock: l}
	if err := p.open(); err != nil {
		return nil, waited, errors.Join(err, l.Close())
	}
	return p, waited, nil
}

func (p *partial) open() error {
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	// The umask may have cut the mode at which others of the group continue;
	// whoever is not the owner cannot, and need not, change it.
	_ = f.Chmod(0o660)
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p.f, p.size = f, fi.Size()
	return nil
}

func (p *partial) close() {
	_ = p.f.Close()
	_ = p.lock.Close()
}

// reset forgets what was received.
func (p *partial) reset() error {
	_ = os.Remove(p.path + etagSuffix)
	p.size = 0
	return p.f.Truncate(0)
}

// remove deletes the file, unless the store has moved it away and somebody
// made a new one.
func (p *partial) remove() {
	_ = os.Remove(p.path + etagSuffix)
	if same, err := p.lock.IsAt(p.path); err == nil && same {
		_ = os.Remove(p.path)
	}
}

// begin notes which version of the resource follows.
func (p *partial) begin(etag string) error {
	if p.size > 0 {
		return nil
	}
	if etag == "" || len(etag) > maxETag {
		_ = os.Remove(p.path + etagSuffix)
		return nil
	}
	return writeShared(p.path+etagSuffix, etag)
}

// writeShared writes a file at which others of the group can go on, whatever
// the umask is and whoever left one of that name behind.
func writeShared(path, content string) (err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o660)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := f.Chmod(0o660); err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return err
}

// received is what is there so far.
func (p *partial) received() io.Reader { return io.NewSectionReader(p.f, 0, p.size) }

// isOf tells whether the file holds the beginning of what the headers
// describe: it was modified before the download, or it has the same ETag.
func (p *partial) isOf(h http.Header) bool {
	if saved, err := os.ReadFile(p.path + etagSuffix); err == nil && len(saved) > 0 {
		etag := h.Get("ETag")
		return etag == string(saved) && !strings.HasPrefix(etag, "W/") || etag == "" && p.isNewer(h)
	}
	return p.isNewer(h)
}

func (p *partial) isNewer(h http.Header) bool {
	modified, err := parseDate(h.Get("Last-Modified"))
	if err != nil {
		return false
	}
	fi, err := p.f.Stat()
	return err == nil && modified.Before(fi.ModTime())
}

// parseDate accepts the dates of HTTP and those of RFC 1123 with other zones.
func parseDate(s string) (time.Time, error) {
	if t, err := http.ParseTime(s); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.RFC1123Z, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC1123, s)
}

// startsAt tells whether Content-Range begins at offset.
func startsAt(h http.Header, offset int64) bool {
	unit, rest, ok := strings.Cut(h.Get("Content-Range"), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return false
	}
	first, _, ok := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return ok && err == nil && n == offset
}

const compareLength = 4096

// isWhole decides whether the answer 200 to a ranged request is the whole
// resource or only the rest of it: there are servers that do either. It returns a
// reader of the complete body.
func (d *download) isWhole(resp *http.Response) (bool, io.Reader, error) {
	if d.headLength >= 0 && resp.ContentLength >= 0 {
		return resp.ContentLength != d.headLength-d.part.size, resp.Body, nil
	}
	in := bufio.NewReaderSize(resp.Body, compareLength)
	have := make([]byte, min(compareLength, d.part.size))
	if _, err := d.part.f.ReadAt(have, 0); err != nil {
		return false, nil, err
	}
	head, err := in.Peek(len(have))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, nil, err
	}
	return bytes.Equal(head, have), in, nil
}

// intake is the rest of a download: it writes what it reads to the partial
// file, and flushes that at the end, before the store gives it its name.
type intake struct {
	part     *partial
	body     io.Reader
	expected int64 // bytes in all, -1 if not known
	broken   error // what went wrong on the way
}

func (in *intake) Read(p []byte) (int, error) {
	n, err := in.body.Read(p)
	if n > 0 {
		if in.part.size+int64(n) > maxArchive {
			return 0, fmt.Errorf("archive is larger than the limit of %d bytes", int64(maxArchive))
		}
		if _, werr := in.part.f.Write(p[:n]); werr != nil {
			in.broken = werr
			return 0, werr
		}
		in.part.size += int64(n)
	}
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		in.broken = err
		return n, err
	case in.expected >= 0 && in.part.size != in.expected:
		in.broken = io.ErrUnexpectedEOF
		return n, in.broken
	}
	if serr := in.part.f.Sync(); serr != nil {
		in.broken = serr
		return n, serr
	}
	return n, io.EOF
}
