// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/compression"
)

// archive/tar gives no access to the bytes of a header, which copying verbatim
// needs; so this file finds the borders between entries by itself.

// maxExtended bounds the headers that precede an entry; archive/tar has the
// same limit for each of them.
const maxExtended = 1 << 20

var errRawHeader = errors.New("invalid tar header")

// rawEntry is an entry as it stands in the archive.
type rawEntry struct {
	// header has all blocks before the data; block is the main one of them.
	header, block []byte
	name          string
	typeflag      byte
	// size is how many bytes of data follow, without padding.
	size int64
	// sized tells that the size stands in an extended header, sparse that
	// the data begins with, or is described by, a map.
	sized, sparse bool
}

// readRaw reads the headers of the next entry. At the end of the archive it
// returns what it read of it and io.EOF.
func readRaw(r io.Reader) (*rawEntry, []byte, error) {
	e := &rawEntry{}
	var records map[string]string
	var longName string
	for {
		block, err := readBlock(r)
		switch {
		case errors.Is(err, io.EOF) && len(e.header) == 0, err == nil && isZero(block):
			return nil, append(e.header, block...), io.EOF
		case err != nil:
			return nil, nil, fmt.Errorf("read archive: %w", err)
		case !compression.IsTarHeader(block):
			return nil, nil, fmt.Errorf("%w: bad checksum", errRawHeader)
		}
		e.header = append(e.header, block...)
		size, err := rawSize(block)
		if err != nil {
			return nil, nil, err
		}
		switch typeflag := block[typeflagOffset]; typeflag {
		case tar.TypeXHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
			data, err := e.readExtended(r, size)
			if err != nil {
				return nil, nil, err
			}
			if typeflag == tar.TypeGNULongName {
				longName = cString(data)
			}
			if typeflag == tar.TypeXHeader {
				if records, err = parsePAX(data); err != nil {
					return nil, nil, err
				}
			}
			continue
		}
		e.block, e.typeflag = block, block[typeflagOffset]
		if err := e.finish(r, size, longName, records); err != nil {
			return nil, nil, err
		}
		return e, nil, nil
	}
}

// readBlock returns io.EOF only if not a single byte is left.
func readBlock(r io.Reader) ([]byte, error) {
	block := make([]byte, blockSize)
	n, err := io.ReadFull(r, block)
	return block[:n], err
}

func isZero(block []byte) bool { return len(bytes.Trim(block, "\x00")) == 0 }

// readExtended reads the data of a header that belongs to the entry after it.
func (e *rawEntry) readExtended(r io.Reader, size int64) ([]byte, error) {
	padded := size + int64(len(padding(size)))
	if size > maxExtended || int64(len(e.header))+padded > 4*maxExtended {
		return nil, fmt.Errorf("%w: extended header of %d bytes", errRawHeader, size)
	}
	data := make([]byte, padded)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read archive: %w", noEOF(err))
	}
	e.header = append(e.header, data...)
	return data[:size], nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// finish reads sparse extensions and decides about name and size.
func (e *rawEntry) finish(r io.Reader, size int64, longName string, records map[string]string) error {
	e.name, e.size = rawName(e.block), size
	if name := records["path"]; name != "" {
		e.name = name
	}
	if longName != "" {
		e.name = longName
	}
	if text, ok := records["size"]; ok {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: bad size %q", errRawHeader, text)
		}
		e.size, e.sized = n, true
	}
	if records["GNU.sparse.major"] != "" || records["GNU.sparse.map"] != "" {
		e.sparse = true
		if name := records["GNU.sparse.name"]; name != "" {
			e.name = name
		}
	}
	if e.typeflag == tar.TypeGNUSparse && bytes.Equal(e.block[magicOffset:magicOffset+8], []byte("ustar  \x00")) {
		if err := e.readSparseBlocks(r, e.block[482] != 0); err != nil {
			return err
		}
	}
	if e.hasNoData() {
		e.size = 0
	}
	return nil
}

func (e *rawEntry) readSparseBlocks(r io.Reader, more bool) error {
	for more {
		block, err := readBlock(r)
		if err != nil {
			return fmt.Errorf("read archive: %w", noEOF(err))
		}
		if len(e.header) > 4*maxExtended {
			return fmt.Errorf("%w: too many sparse blocks", errRawHeader)
		}
		e.header = append(e.header, block...)
		more = block[504] != 0
	}
	return nil
}

// hasNoData tells of which types the size field means nothing.
func (e *rawEntry) hasNoData() bool {
	switch e.typeflag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return true
	case 0: // before ustar, a directory was a file whose name ends in a slash
		return strings.HasSuffix(e.name, "/")
	}
	return false
}

// isManifest tells whether this is the entry that has the manifest.
func (e *rawEntry) isManifest() bool {
	return e.typeflag != tar.TypeXGlobalHeader && path.Clean(e.name) == ManifestName
}

func rawName(block []byte) string {
	name := cString(block[:100])
	// GNU archives have other fields in the place of the prefix.
	if bytes.Equal(block[magicOffset:magicOffset+6], []byte("ustar\x00")) {
		if prefix := cString(block[prefixOffset:prefixEnd]); prefix != "" {
			return prefix + "/" + name
		}
	}
	return name
}

func cString(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

// rawSize reads the size field: octal, or binary if its first bit is set.
func rawSize(block []byte) (int64, error) {
	field := block[sizeOffset:sizeEnd]
	if field[0]&0x80 == 0 {
		text := strings.Trim(cString(field), " ")
		if text == "" {
			return 0, nil
		}
		n, err := strconv.ParseInt(text, 8, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%w: bad size %q", errRawHeader, text)
		}
		return n, nil
	}
	var n uint64
	for i, c := range field {
		if i == 0 {
			c &= 0x7f
		}
		if n >= 1<<55 {
			return 0, fmt.Errorf("%w: size out of range", errRawHeader)
		}
		n = n<<8 | uint64(c)
	}
	return int64(n), nil
}
