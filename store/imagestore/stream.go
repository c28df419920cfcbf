// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// Buffers of one stream between two goroutines. Several layers are under way
// at once, so this is small: 3 × 64 KiB for each of the two hand-overs.
const (
	chunkSize  = 64 << 10
	chunkCount = 3
)

// readAhead reads from another reader in a goroutine of its own, a few chunks
// ahead, so that receiving, decompressing and unpacking overlap.
type readAhead struct {
	full chan chunk
	free chan []byte
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup
	cur  chunk
	pos  int
}

type chunk struct {
	buf []byte
	err error // after buf
}

// errClosed ends a stage whose source was closed because a later one failed.
var errClosed = errors.New("stream closed")

func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{
		full: make(chan chunk, chunkCount),
		free: make(chan []byte, chunkCount),
		stop: make(chan struct{}),
	}
	for range chunkCount {
		a.free <- make([]byte, chunkSize)
	}
	a.done.Go(func() { a.fill(r) })
	return a
}

func (a *readAhead) fill(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		n, err := readChunk(r, buf[:chunkSize])
		select {
		case a.full <- chunk{buf[:n], err}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

// readChunk fills buf unless the reader has nothing more to give soon: it
// returns early with at least a quarter, so that a slow network does not delay
// what is already here.
func readChunk(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf)/4 {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (a *readAhead) Read(p []byte) (int, error) {
	for a.pos == len(a.cur.buf) {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.buf != nil {
			a.free <- a.cur.buf
		}
		select {
		case a.cur = <-a.full:
			a.pos = 0
		case <-a.stop:
			return 0, errClosed
		}
	}
	n := copy(p, a.cur.buf[a.pos:])
	a.pos += n
	return n, nil
}

// Close ends the goroutine and waits for it; the source is free afterwards.
// If the source can block for ever, the caller makes it return first.
func (a *readAhead) Close() error {
	a.once.Do(func() { close(a.stop) })
	a.done.Wait()
	return nil
}

// meter hashes and counts what is read through it and refuses more than max
// bytes (0: no limit).
type meter struct {
	r    io.Reader
	h    hash.Hash
	n    int64
	max  int64
	what string
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.max > 0 && m.n > m.max {
		return n, &layer.LimitError{What: m.what, Max: m.max}
	}
	if m.h != nil {
		_, _ = m.h.Write(p[:n]) // a hash never fails
	}
	return n, err
}

// streamCap bounds the uncompressed length of an archive: what it may unpack
// to, and the headers for as many entries as it may have. Bytes behind the end
// marker count, so endless padding is refused.
func streamCap(l layer.Limits) int64 {
	if l.Bytes == 0 || l.Entries == 0 {
		return 0
	}
	return l.Bytes + 4096*l.Entries
}

// unpackFunc consumes an uncompressed tar to its end.
type unpackFunc func(ctx context.Context, tar io.Reader) (*layer.Result, error)

// discard is an unpackFunc that only reads.
func discard(_ context.Context, r io.Reader) (*layer.Result, error) {
	_, err := io.CopyBuffer(io.Discard, onlyReader{r}, make([]byte, chunkSize))
	return nil, err
}

// onlyReader hides WriteTo, so that CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

// decompressed runs unpack over the uncompressed content of src, which is read
// to its end. The content goes through out, which hashes and limits it. abort
// makes a source that blocks return.
func decompressed(ctx context.Context, src io.Reader, out *meter, unpack unpackFunc, abort func()) (_ *layer.Result, err error) {
	// A cancelled context ends every stage by ending the first read.
	received := newReadAhead(&ctxReader{ctx, src})
	defer func() {
		if err != nil {
			abort()
		}
		_ = received.Close()
	}()
	plain, _, err := compression.NewReader(received)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	defer func() { _ = plain.Close() }()
	ahead := newReadAhead(plain)
	// Closed before plain: its goroutine reads from there.
	defer func() {
		if err != nil {
			abort()
			_ = received.Close()
		}
		_ = ahead.Close()
	}()

	out.r = ahead
	res, err := unpack(ctx, out)
	if err != nil {
		return nil, err
	}
	// The unpacker read to the end of the archive; what follows the last
	// compressed frame still belongs to the blob's digest.
	_, err = discard(ctx, received)
	return res, err
}

type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one call
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// isSourceError tells errors of the source from errors of the data or the disk.
func isSourceError(err error) bool {
	var de *sourceError
	return errors.As(err, &de)
}

// sourceError marks errors of the network or wherever bytes come from: what
// was received so far is kept for the next attempt.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }
