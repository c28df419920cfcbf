// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// ErrNotOCI is returned for images that have no layers of their own.
var ErrNotOCI = errors.New("not an OCI image")

// Content is an OCI image as it was received. Nothing of it can be removed
// before Close.
type Content struct {
	Record      *Record
	RawManifest []byte
	RawConfig   []byte

	s  *Store
	im *OCIImport
}

// Content opens an OCI image, and counts as use of it; the error is ErrNotOCI for others.
func (s *Store) Content(ctx context.Context, id appc.ImageID) (_ *Content, err error) {
	rec, err := s.Record(id)
	if err != nil {
		return nil, err
	}
	if rec.Kind != OCI {
		return nil, ErrNotOCI
	}
	if err := s.Touch(id); err != nil {
		return nil, err
	}
	im, err := s.BeginOCI(ctx)
	if err != nil {
		return nil, err
	}
	c := &Content{Record: rec, s: s, im: im}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, b := range rec.blobs() {
		d, err := parseDigest(b)
		if err != nil {
			return nil, err
		}
		if err := im.hold(ctx, d); err != nil {
			return nil, err
		}
	}
	c.RawManifest, c.RawConfig, err = s.documents(rec)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// OCIDocuments returns manifest and config of an OCI image as they were
// received, without counting as use; the error is ErrNotOCI for other images.
func (s *Store) OCIDocuments(id appc.ImageID) (manifest, config []byte, err error) {
	rec, err := s.Record(id)
	if err != nil {
		return nil, nil, err
	}
	if rec.Kind != OCI {
		return nil, nil, ErrNotOCI
	}
	return s.documents(rec)
}

func (s *Store) documents(rec *Record) (manifest, config []byte, err error) {
	if rec.ManifestDigest == "" {
		return nil, nil, fmt.Errorf("image %s has no manifest of its own", rec.ID.Key())
	}
	if manifest, err = s.smallBlob(rec.ManifestDigest); err != nil {
		return nil, nil, fmt.Errorf("image manifest: %w", err)
	}
	if config, err = s.smallBlob(rec.ConfigDigest); err != nil {
		return nil, nil, fmt.Errorf("image config: %w", err)
	}
	return manifest, config, nil
}

// Close lets go of the image.
func (c *Content) Close() error { return c.im.Close() }

// Open reads a layer as it was received. The end is an error unless its digest was right.
func (c *Content) Open(d layer.Descriptor) (io.ReadCloser, error) {
	return c.s.openBlob(d.Digest, d.Size)
}

// maxSmallBlob is more than any manifest or config that was imported has.
const maxSmallBlob = 16 << 20

func (s *Store) smallBlob(text string) ([]byte, error) {
	f, err := s.openBlob(text, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSmallBlob+1))
	if err == nil && len(data) > maxSmallBlob {
		err = fmt.Errorf("%s: file is too large", text)
	}
	return data, err
}

// openBlob reads a stored blob and verifies its digest at the end. A negative size is not checked.
func (s *Store) openBlob(text string, size int64) (io.ReadCloser, error) {
	d, err := parseDigest(text)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	st, err := f.Stat()
	if err == nil && size >= 0 && st.Size() != size {
		err = fmt.Errorf("blob %s: %d bytes expected but %d found", d, size, st.Size())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &checkedBlob{f: f, d: d, h: d.newHash()}, nil
}

// checkedBlob hashes what is read.
type checkedBlob struct {
	f *os.File
	d digest
	h hash.Hash
}

func (b *checkedBlob) Read(p []byte) (int, error) {
	n, err := b.f.Read(p)
	_, _ = b.h.Write(p[:n]) // a hash never fails
	if errors.Is(err, io.EOF) {
		if err := b.d.check("blob", b.h); err != nil {
			return n, err
		}
	}
	return n, err
}

func (b *checkedBlob) Close() error { return b.f.Close() }
