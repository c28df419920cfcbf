// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Patch copies the uncompressed archive r to w and puts edit(manifest) in the
// place of the manifest. Every other byte is copied as it is; the manifest's
// header keeps all but its size. An archive without manifest gives ErrNoManifest.
func Patch(w io.Writer, r io.Reader, edit func([]byte) ([]byte, error)) error {
	found := false
	for {
		e, end, err := readRaw(r)
		if errors.Is(err, io.EOF) {
			if !found {
				return ErrNoManifest
			}
			return copyEnd(w, r, end)
		}
		if err != nil {
			return err
		}
		if !e.isManifest() {
			if err := e.copy(w, r); err != nil {
				return err
			}
			continue
		}
		if found {
			return fmt.Errorf("duplicate file entry in archive: %s", ManifestName)
		}
		found = true
		if err := e.edit(w, r, edit); err != nil {
			return err
		}
	}
}

// copyEnd writes the end mark that was read and all behind it.
func copyEnd(w io.Writer, r io.Reader, end []byte) error {
	if _, err := w.Write(end); err != nil {
		return err
	}
	_, err := io.Copy(w, r)
	return err
}

func (e *rawEntry) copy(w io.Writer, r io.Reader) error {
	if _, err := w.Write(e.header); err != nil {
		return err
	}
	padded := e.size + int64(len(padding(e.size)))
	if padded < e.size {
		return fmt.Errorf("%w: size out of range", errRawHeader)
	}
	if _, err := io.CopyN(w, r, padded); err != nil {
		return fmt.Errorf("copy %q: %w", e.name, noEOF(err))
	}
	return nil
}

// edit writes the entry with the edited manifest.
func (e *rawEntry) edit(w io.Writer, r io.Reader, edit func([]byte) ([]byte, error)) error {
	switch {
	case e.typeflag != tar.TypeReg && e.typeflag != 0, e.hasNoData(), e.sparse:
		return errors.New("manifest is not a regular file")
	case e.sized:
		return errors.New("manifest has its size in an extended header")
	case e.size > appc.MaxManifestSize:
		return fmt.Errorf("manifest has %d bytes, more than %d", e.size, appc.MaxManifestSize)
	}
	old := make([]byte, e.size+int64(len(padding(e.size))))
	if _, err := io.ReadFull(r, old); err != nil {
		return fmt.Errorf("read manifest: %w", noEOF(err))
	}
	data, err := edit(old[:e.size])
	if err != nil {
		return err
	}
	if bytes.Equal(data, old[:e.size]) {
		// Even the padding stays, which need not be zero.
		_, err := w.Write(slices.Concat(e.header, old))
		return err
	}
	header := slices.Clone(e.header)
	block := header[len(header)-blockSize:]
	if int64(len(data)) != e.size {
		copy(block[sizeOffset:sizeEnd], fmt.Sprintf("%011o\x00", len(data)))
		setChecksum(block)
	}
	for _, part := range [][]byte{header, data, padding(int64(len(data)))} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
