// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// worthSparse is how much a file must save to be written with holes.
const worthSparse = 64 << 10

// segment is a part of a file that has data.
type segment struct{ offset, length int64 }

func isSparse(st *unix.Statx_t) bool {
	return st.Size > st.Blocks*512 && st.Size-st.Blocks*512 >= worthSparse
}

// dataSegments asks the file system for the parts between the holes and
// returns to the start of f. A file system that cannot tell says that all is data.
func dataSegments(f *os.File, size int64) ([]segment, error) {
	var segments []segment
	for end := int64(0); end < size; {
		start, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // only a hole is left
			break
		}
		if err != nil {
			return nil, err
		}
		if end, err = f.Seek(start, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		if start >= size {
			break
		}
		end = min(end, size)
		segments = append(segments, segment{start, end - start})
	}
	_, err := f.Seek(0, io.SeekStart)
	return segments, err
}

// addSparse writes f in the sparse format 1.0 of GNU tar, which archive/tar
// reads but does not write: the data is preceded by a map of the segments, and a
// PAX header has the real name and size.
func (w *Writer) addSparse(ctx context.Context, hdr *tar.Header, f *os.File, segments []segment, buffer []byte) error {
	// The format wants a last segment that ends where the file does.
	if n := len(segments); n == 0 || segments[n-1].offset+segments[n-1].length < hdr.Size {
		segments = append(segments, segment{hdr.Size, 0})
	}
	sparseMap := appendSparseMap(nil, segments)
	packed := int64(len(sparseMap))
	for _, s := range segments {
		packed += s.length
	}
	if err := w.sparseHeader(hdr, packed); err != nil {
		return fmt.Errorf("write %q: %w", hdr.Name, err)
	}
	if _, err := w.w.Write(sparseMap); err != nil {
		return fmt.Errorf("write %q: %w", hdr.Name, err)
	}
	for _, s := range segments {
		if _, err := f.Seek(s.offset, io.SeekStart); err != nil {
			return fmt.Errorf("read %q: %w", hdr.Name, err)
		}
		if err := copyExactly(ctx, w.w, f, s.length, hdr.Name, buffer); err != nil {
			return err
		}
	}
	_, err := w.w.Write(padding(packed))
	return err
}

func appendSparseMap(b []byte, segments []segment) []byte {
	b = append(strconv.AppendInt(b, int64(len(segments)), 10), '\n')
	for _, s := range segments {
		b = append(strconv.AppendInt(b, s.offset, 10), '\n')
		b = append(strconv.AppendInt(b, s.length, 10), '\n')
	}
	return append(b, padding(int64(len(b)))...)
}

// sparseHeader writes the two headers around the underlying writer's back;
// archive/tar keeps no state between entries once it is flushed.
func (w *Writer) sparseHeader(hdr *tar.Header, packed int64) error {
	if err := w.tw.Flush(); err != nil {
		return err
	}
	short := *hdr
	short.PAXRecords = nil
	short.Name = "GNUSparseFile.0/" + path.Base(hdr.Name)
	if len(short.Name) > 100 || !isASCII(short.Name) {
		short.Name = "GNUSparseFile.0/file"
	}
	short.Size = packed
	records := extendedRecords(&short)
	records["GNU.sparse.major"], records["GNU.sparse.minor"] = "1", "0"
	records["GNU.sparse.name"] = hdr.Name
	records["GNU.sparse.realsize"] = strconv.FormatInt(hdr.Size, 10)
	maps.Copy(records, hdr.PAXRecords)
	extended, err := extendedHeader(records)
	if err != nil {
		return err
	}
	block, err := ustarBlock(&short)
	if err != nil {
		return err
	}
	_, err = w.w.Write(append(extended, block...))
	return err
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
