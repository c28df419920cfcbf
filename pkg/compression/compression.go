// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Type is how a stream is compressed.
type Type string

// The types that NewReader reads.
const (
	None  Type = "none"
	Gzip  Type = "gzip"
	Bzip2 Type = "bzip2"
	XZ    Type = "xz"
	Zstd  Type = "zstd"
)

const (
	// MaxWindow is how far back zstd and xz streams may refer, and so how
	// much memory a reader takes at most.
	MaxWindow = 128 << 20
	// HeadSize is how many bytes Detect and IsTar want to see.
	HeadSize = 512

	bufferSize = 64 << 10
)

// Detect tells from its first bytes how a stream is compressed. Six bytes are
// enough; what is not recognised is None.
func Detect(head []byte) Type {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte("BZh")):
		return Bzip2
	case bytes.HasPrefix(head, []byte(xzMagic)):
		return XZ
	case isZstd(head):
		return Zstd
	}
	return None
}

// isZstd accepts a frame and a skippable frame (RFC 8878, 3.1.2).
func isZstd(head []byte) bool {
	if bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return true
	}
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}

// NewReader returns the uncompressed content of r and how it was compressed.
// It reads ahead of what it returns. Closing the result frees its memory and
// leaves r open.
func NewReader(r io.Reader) (io.ReadCloser, Type, error) {
	buffered := bufio.NewReaderSize(r, bufferSize)
	head, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	kind := Detect(head)
	content, err := open(buffered, kind)
	if err != nil {
		return nil, kind, fmt.Errorf("%s: %w", kind, err)
	}
	return content, kind, nil
}

func open(r *bufio.Reader, kind Type) (io.ReadCloser, error) {
	switch kind {
	case Gzip:
		return gzip.NewReader(r)
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(r)), nil
	case XZ:
		x, err := newXZReader(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case Zstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// NewWriter compresses to w. Equal content gives equal bytes: headers have no
// name and no time. Only None, Gzip and Zstd can be written. Closing the result
// does not close w.
func NewWriter(w io.Writer, kind Type) (io.WriteCloser, error) { return Spec{Type: kind}.NewWriter(w) }

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }
