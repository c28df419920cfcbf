// SPDX-License-Identifier: Apache-2.0

// Package fetchstore makes the image store what package fetch wants to put images into.
package fetchstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// New is s as package fetch wants it.
func New(s *imagestore.Store) fetch.Store { return store{s} }

type store struct{ *imagestore.Store }

func (s store) Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error) {
	id, err := s.Store.Find(name, labels)
	if errors.Is(err, imagestore.ErrNotFound) {
		return "", &notStoredError{err}
	}
	return id, err
}

// notStoredError is an error of the store that is also fetch.ErrNotFound.
type notStoredError struct{ err error }

func (e *notStoredError) Error() string        { return e.err.Error() }
func (e *notStoredError) Unwrap() error        { return e.err }
func (e *notStoredError) Is(target error) bool { return target == fetch.ErrNotFound }

func (s store) Size(id appc.ImageID) (int64, error) {
	rec, err := s.Record(id)
	if err != nil {
		return 0, fmt.Errorf("size of image %s: %w", id, err)
	}
	return rec.Size, nil
}

func (s store) Remote(url string) (fetch.Remote, bool, error) {
	r, ok, err := s.Store.Remote(url)
	return fetch.Remote(r), ok, err
}

func (s store) RefreshRemote(r fetch.Remote) error {
	return s.Store.RefreshRemote(imagestore.Remote(r))
}

// SetVerified records the verdict on an image that is kept.
func (s store) SetVerified(id appc.ImageID, v *fetch.Verification) error {
	return s.Store.SetVerified(id, (*imagestore.Verification)(v))
}

func (s store) ImportACI(ctx context.Context, r io.Reader, o fetch.ImportOptions) (appc.ImageID, error) {
	so := imagestore.ImportOptions{
		Latest: o.Latest, Remote: (*imagestore.Remote)(o.Remote), Adopt: o.Adopt, WantID: o.WantID,
	}
	if o.Accept != nil {
		so.Accept = func(m *appc.ImageManifest) (*imagestore.Verification, error) {
			v, err := o.Accept(m)
			return (*imagestore.Verification)(v), err
		}
	}
	return s.Store.ImportACI(ctx, r, so)
}

func (s store) BeginOCI(ctx context.Context) (fetch.OCIImport, error) {
	im, err := s.Store.BeginOCI(ctx)
	if err != nil {
		return nil, err
	}
	return ociImport{im}, nil
}

// ociImport is the import of a layered image as package fetch wants it.
type ociImport struct{ *imagestore.OCIImport }

func (im ociImport) PutLayer(ctx context.Context, d layer.Descriptor, open func(ctx context.Context, offset int64) (io.ReadCloser, error)) error {
	return im.OCIImport.PutLayer(ctx, d, open)
}

func (im ociImport) Commit(ctx context.Context, image fetch.OCIImage) (appc.ImageID, error) {
	return im.OCIImport.Commit(ctx, imagestore.OCIImage{
		Manifest:       image.Manifest,
		RawManifest:    image.RawManifest,
		RawConfig:      image.RawConfig,
		ManifestDigest: image.ManifestDigest,
		Layers:         image.Layers,
		Latest:         image.Latest,
		Remote:         (*imagestore.Remote)(image.Remote),
		Verified:       (*imagestore.Verification)(image.Verified),
	})
}
