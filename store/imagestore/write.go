// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// WriteACI writes the uncompressed archive of an image, so that its SHA-512 is
// the image ID, and counts as use of the image. What was written is worth
// nothing if WriteACI fails: the hash is known at the end only.
func (s *Store) WriteACI(ctx context.Context, id appc.ImageID, w io.Writer) error {
	return s.read(ctx, id, func(r *Record) error {
		if err := s.Touch(id); err != nil {
			return err
		}
		return s.writeArchive(ctx, r, w)
	})
}

// read runs fn under the shared lock of an image.
func (s *Store) read(ctx context.Context, id appc.ImageID, fn func(*Record) error) error {
	key := id.Key()
	if !isKey(string(key)) || !s.hasRecord(key) {
		return &NotFoundError{Key: key}
	}
	if s.isOCI(key) {
		// The locks of the layers come first in the order; holding them, no
		// image lock is needed to read what their digests name.
		rec, err := s.Record(key)
		if err != nil {
			return err
		}
		return fn(rec)
	}
	l, err := s.keyLock(ctx, string(key), lock.Shared)
	if err != nil {
		return fmt.Errorf("error locking image: %w", err)
	}
	defer func() { _ = l.Close() }()
	rec, err := s.Record(key)
	if err != nil {
		return err
	}
	return fn(rec)
}

func (s *Store) isOCI(key appc.ImageID) bool {
	r, err := s.readRecord(key)
	return err == nil && r.Kind == OCI
}

func (s *Store) writeArchive(ctx context.Context, r *Record, w io.Writer) error {
	h := sha512.New()
	out := io.MultiWriter(h, w)
	var err error
	if r.Kind == OCI {
		err = s.squash(ctx, r, out)
	} else {
		err = s.copyACI(ctx, r.ID.Key(), out)
	}
	if err != nil {
		return err
	}
	if got := appc.ImageIDFromSum(h.Sum(nil)); !hasID(got, r.ID) {
		return &IDError{Got: got, Want: r.ID}
	}
	return nil
}

func (s *Store) squash(ctx context.Context, r *Record, w io.Writer) (err error) {
	// Read before anybody can remove it; the layers stay once they are held.
	data, err := s.manifestBytes(r.ID.Key())
	if errors.Is(err, fs.ErrNotExist) && !s.hasRecord(r.ID.Key()) {
		return &NotFoundError{Key: r.ID.Key()}
	}
	if err != nil {
		return fmt.Errorf("error retrieving image manifest: %w", err)
	}
	set, err := s.layers(ctx, r, nil)
	defer func() { err = errors.Join(err, set.Close()) }()
	if err != nil {
		return err
	}
	return layer.WriteACI(ctx, w, data, set.Sources)
}

func (s *Store) copyACI(ctx context.Context, key appc.ImageID, w io.Writer) error {
	f, err := os.Open(s.aciPath(key))
	if err != nil {
		return fmt.Errorf("open image %s: %w", key, err)
	}
	defer func() { _ = f.Close() }()
	out := &meter{max: streamCap(s.limits), what: "bytes in its stream"}
	_, err = decompressed(ctx, f, out, func(_ context.Context, r io.Reader) (*layer.Result, error) {
		_, err := io.CopyBuffer(onlyWriter{w}, onlyReader{r}, make([]byte, chunkSize))
		return nil, err
	}, func() {})
	return err
}

// onlyWriter hides ReadFrom, so that CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }
