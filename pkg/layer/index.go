// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// indexMagic starts an index file; the digit is the format version.
const indexMagic = "rkt-tree-index-1\n"

// Bits of an entry's flag byte in the index file.
const (
	flagHasLinks = 1 << iota
	flagOpaque
	flagImplicit
)

// maxField caps one string of an index file, so that a damaged file cannot
// make the reader allocate at will.
const maxField = 1 << 20

// indexWriter writes entries in the order given. The format is a sequence of
// records; a record is a type byte, a flag byte and unsigned varints, strings
// with their length before them. A zero type byte ends the file and is
// followed by the number of records.
type indexWriter struct {
	w   *bufio.Writer
	buf []byte
	n   uint64
}

func newIndexWriter(w io.Writer) (*indexWriter, error) {
	iw := &indexWriter{w: bufio.NewWriterSize(w, 64<<10)}
	_, err := iw.w.WriteString(indexMagic)
	return iw, err
}

func (iw *indexWriter) add(e *Entry) error {
	b := append(iw.buf[:0], byte(e.Type), flagsOf(e))
	b = appendString(b, e.Path)
	for _, v := range []uint64{
		uint64(e.Mode), uint64(e.UID), uint64(e.GID), uint64(e.Size), zigzag(e.Sec), uint64(e.Nsec),
		uint64(e.Major), uint64(e.Minor), e.Ino, zigzag(e.CSec), uint64(e.CNsec),
	} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendString(b, e.Target)
	b = appendString(b, e.LinkTo)
	b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
	for _, x := range e.Xattrs {
		b = appendString(b, x.Name)
		b = appendString(b, x.Value)
	}
	iw.buf = b
	iw.n++
	_, err := iw.w.Write(b)
	return err
}

func (iw *indexWriter) close() error {
	if _, err := iw.w.Write(binary.AppendUvarint([]byte{0}, iw.n)); err != nil {
		return err
	}
	return iw.w.Flush()
}

func flagsOf(e *Entry) byte {
	var f byte
	if e.HasLinks {
		f |= flagHasLinks
	}
	if e.Opaque {
		f |= flagOpaque
	}
	if e.Implicit {
		f |= flagImplicit
	}
	return f
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// IndexReader reads the entries of an index file in order.
type IndexReader struct {
	f    io.Closer
	r    *bufio.Reader
	n    uint64
	path string
	err  error
}

// OpenIndex opens an index file. The caller closes the reader.
func OpenIndex(path string) (*IndexReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newIndexReader(f, path)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	r.f = f
	return r, nil
}

func newIndexReader(src io.Reader, path string) (*IndexReader, error) {
	r := &IndexReader{r: bufio.NewReaderSize(src, 32<<10), path: path}
	magic := make([]byte, len(indexMagic))
	if _, err := io.ReadFull(r.r, magic); err != nil || string(magic) != indexMagic {
		return nil, fmt.Errorf("read tree index %s: not an index of this version", path)
	}
	return r, nil
}

// Close releases the file.
func (r *IndexReader) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// Next returns the next entry, io.EOF after the last one. A file that ends
// early or is damaged yields another error, never fewer entries.
func (r *IndexReader) Next() (*Entry, error) {
	e, err := r.next()
	if err != nil && !errors.Is(err, errEnd) {
		return nil, fmt.Errorf("read tree index %s: record %d: %w", r.path, r.n, err)
	}
	if err != nil {
		return nil, io.EOF
	}
	r.n++
	return e, nil
}

var (
	errEnd    = errors.New("end of index")
	errFormat = errors.New("damaged")
)

func (r *IndexReader) next() (*Entry, error) {
	kind, err := r.r.ReadByte()
	if err != nil {
		return nil, noEOF(err)
	}
	if kind == 0 {
		n, err := binary.ReadUvarint(r.r)
		if err != nil {
			return nil, noEOF(err)
		}
		if n != r.n {
			return nil, fmt.Errorf("%w: %d records announced", errFormat, n)
		}
		return nil, errEnd
	}
	flags, err := r.r.ReadByte()
	if err != nil {
		return nil, noEOF(err)
	}
	e := &Entry{
		Type:     Type(kind),
		HasLinks: flags&flagHasLinks != 0,
		Opaque:   flags&flagOpaque != 0,
		Implicit: flags&flagImplicit != 0,
	}
	r.err = nil
	e.Path = r.str()
	e.Mode, e.UID, e.GID = uint32(r.num()), uint32(r.num()), uint32(r.num())
	e.Size, e.Sec, e.Nsec = int64(r.num()), unzigzag(r.num()), int64(r.num())
	e.Major, e.Minor = uint32(r.num()), uint32(r.num())
	e.Ino, e.CSec, e.CNsec = r.num(), unzigzag(r.num()), int64(r.num())
	e.Target, e.LinkTo = r.str(), r.str()
	count := r.num()
	if count > maxField {
		return nil, errFormat
	}
	for range count {
		if r.err != nil {
			break
		}
		e.Xattrs = append(e.Xattrs, Xattr{Name: r.str(), Value: r.str()})
	}
	return e, r.err
}

func (r *IndexReader) num() uint64 {
	if r.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(r.r)
	if err != nil {
		r.err = noEOF(err)
	}
	return v
}

func (r *IndexReader) str() string {
	n := r.num()
	if r.err != nil || n == 0 {
		return ""
	}
	if n > maxField {
		r.err = errFormat
		return ""
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.err = noEOF(err)
		return ""
	}
	return string(b)
}

// noEOF keeps a file that ends in the middle from looking complete.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
