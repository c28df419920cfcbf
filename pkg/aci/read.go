// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
)

// Names of the two top-level entries.
const (
	ManifestName = "manifest"
	RootFSName   = "rootfs"
)

var (
	// ErrMissingManifest is returned for an archive without manifest.
	ErrMissingManifest = errors.New("missing manifest")
	// ErrUnknownType is returned for what is not a tar in a known compression.
	ErrUnknownType = errors.New("error: unknown image filetype")
)

// Open returns the uncompressed tar of r, which is compressed in any way that
// package compression reads or not at all, and how it was. It looks no further
// than the first block; that must begin a tar, else the error is ErrUnknownType.
func Open(r io.Reader) (io.ReadCloser, compression.Type, error) {
	plain, kind, err := compression.NewReader(r)
	if err != nil {
		return nil, kind, err
	}
	buffered := bufio.NewReaderSize(plain, copyBufferSize)
	head, err := buffered.Peek(compression.HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, kind, errors.Join(err, plain.Close())
	}
	if !compression.IsTar(head) {
		return nil, kind, errors.Join(ErrUnknownType, plain.Close())
	}
	return readCloser{buffered, plain}, kind, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// ManifestFrom returns the manifest of the archive r, parsed and as it is
// stored, and reads no further than that. The archive may be compressed. If only
// parsing fails, the stored bytes are returned with the error. An archive
// without manifest gives ErrMissingManifest.
func ManifestFrom(r io.Reader) (*appc.ImageManifest, []byte, error) {
	plain, _, err := Open(r)
	if err != nil {
		return nil, nil, err
	}
	m, raw, err := findManifest(tar.NewReader(plain))
	return m, raw, errors.Join(err, plain.Close())
}

func findManifest(tr *tar.Reader) (*appc.ImageManifest, []byte, error) {
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil, ErrMissingManifest
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read archive: %w", err)
		}
		if path.Clean(hdr.Name) == ManifestName {
			return readManifest(hdr, tr)
		}
	}
}

// readManifest reads the data of the manifest's entry.
func readManifest(hdr *tar.Header, r io.Reader) (*appc.ImageManifest, []byte, error) {
	if hdr.Typeflag != tar.TypeReg {
		return nil, nil, errors.New("manifest is not a regular file")
	}
	if hdr.Size > appc.MaxManifestSize {
		return nil, nil, fmt.Errorf("manifest has %d bytes, more than %d", hdr.Size, appc.MaxManifestSize)
	}
	raw, err := io.ReadAll(io.LimitReader(r, appc.MaxManifestSize))
	if err != nil {
		return nil, nil, fmt.Errorf("read manifest: %w", err)
	}
	m, err := appc.ParseImageManifest(raw)
	return m, raw, err
}
