// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// open gets a blob from offset on. The reader survives broken connections: it asks
// for the rest and goes on.
func (g *registryConn) open(ctx context.Context, d ociconv.Descriptor, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > d.Size {
		return nil, fmt.Errorf("blob %s: offset %d is out of range", d.Digest, offset)
	}
	b := &blobReader{
		d: d, offset: offset, good: offset, log: g.run.debug,
		get: func(header http.Header) (*http.Response, error) {
			return g.request(ctx, http.MethodGet, g.url("blobs", d.Digest), header)
		},
		wait: func(pause time.Duration) error { return g.run.sleeper()(ctx, pause) },
	}
	if offset == d.Size {
		return b, nil
	}
	return b, b.connect()
}

// blobReader delivers exactly the bytes from an offset to the blob's size. Its
// errors do not say which blob it is: callers do.
type blobReader struct {
	d      ociconv.Descriptor
	get    func(header http.Header) (*http.Response, error)
	wait   func(pause time.Duration) error // fails if the transfer was given up
	log    func(format string, args ...any)
	body   io.ReadCloser
	offset int64
	// failures in a row, and the offset at which the last one happened
	failures int
	good     int64
}

// minProgress is what has to arrive for a failure not to count as one in a row.
const minProgress = 1 << 20

func (b *blobReader) Read(p []byte) (int, error) {
	for {
		if b.offset == b.d.Size {
			return 0, b.atEnd()
		}
		if b.body == nil {
			if err := b.connect(); err != nil {
				return 0, err
			}
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.d.Size-b.offset)])
		b.offset += int64(n)
		if n > 0 {
			return n, nil // an error comes again
		}
		if err == nil {
			continue
		}
		if err := b.broke(err); err != nil {
			return 0, err
		}
	}
}

// atEnd is EOF if the server sends no more than it should.
func (b *blobReader) atEnd() error {
	if b.body == nil {
		return io.EOF
	}
	var extra [1]byte
	if n, _ := b.body.Read(extra[:]); n > 0 {
		return fmt.Errorf("longer than the %d bytes that the manifest says", b.d.Size)
	}
	return io.EOF
}

// broke decides whether to go on after a failure, and waits.
func (b *blobReader) broke(err error) error {
	_ = b.Close()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if b.offset-b.good >= minProgress {
		b.failures = 0
	}
	b.good = b.offset
	b.failures++
	if b.failures >= attempts {
		return err
	}
	b.log("%s broke at byte %d (%v), trying again", short(b.d.Digest), b.offset, err)
	return b.wait(backOff(b.failures - 1))
}

// connect asks for the bytes from the offset on, or for all of them if the
// server refuses to give a part.
func (b *blobReader) connect() error {
	header := http.Header{}
	if b.offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.offset, b.d.Size-1))
	}
	resp, err := b.get(header)
	if err == nil && b.offset > 0 && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		_ = resp.Body.Close()
		resp, err = b.get(http.Header{})
	}
	if err != nil {
		return err
	}
	skip, err := b.check(resp)
	if err == nil && skip > 0 {
		_, err = io.CopyN(io.Discard, resp.Body, skip)
	}
	if err != nil {
		_ = resp.Body.Close()
		return err
	}
	b.body = resp.Body
	return nil
}

// check says how many bytes of the body are there already.
func (b *blobReader) check(resp *http.Response) (skip int64, err error) {
	length := resp.ContentLength
	switch {
	case resp.StatusCode == http.StatusPartialContent && b.offset > 0:
		if !startsAt(resp.Header, b.offset) {
			return 0, fmt.Errorf("asked for bytes from %d, got range %q", b.offset, resp.Header.Get("Content-Range"))
		}
	case resp.StatusCode == http.StatusOK && length >= 0 && length == b.d.Size-b.offset:
		// The rest, though the server does not say so.
		return 0, nil
	case resp.StatusCode == http.StatusOK:
		skip = b.offset
	default:
		return 0, unexpectedCode(resp.StatusCode, resp.Request.URL, resp.Body)
	}
	if want := b.d.Size - b.offset + skip; length >= 0 && length != want {
		return 0, fmt.Errorf("%d bytes expected but %d announced", want, length)
	}
	return skip, nil
}

func (b *blobReader) Close() error {
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

// short is a digest cut for people.
func short(digest string) string { return digest[:min(len(digest), 18)] }
