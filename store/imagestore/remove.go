// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// StaleError is returned by Remove when the image is gone but some of its
// files are not.
type StaleError struct {
	Key appc.ImageID
	Err error
}

func (e *StaleError) Error() string { return fmt.Sprintf("remove files of image %s: %v", e.Key, e.Err) }
func (e *StaleError) Unwrap() error { return e.Err }

// Remove removes an image and the blobs no other image needs. It waits for
// readers of the image. Trees stay: pods may use them. An interrupted
// Remove can be repeated. Errors: *NotFoundError, *StaleError.
func (s *Store) Remove(ctx context.Context, id appc.ImageID) error {
	key := id.Key()
	if !isKey(string(key)) {
		return &NotFoundError{Key: key}
	}
	l, err := s.keyLock(ctx, string(key), lock.Exclusive)
	if err != nil {
		return fmt.Errorf("error locking image: %w", err)
	}
	rec, err := s.removeRecord(ctx, key)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	var stale []error
	stale = append(stale, s.removeFiles(ctx, key, rec))
	if err := s.index.update(ctx, func(t *tx) error { return t.deleteImage(key) }); err != nil {
		return errors.Join(fmt.Errorf("remove image %s from the index: %w", key, err), l.Close())
	}
	stale = append(stale, failpoint.Hit("image-rm.row"), s.dropLockFile(string(key)), l.Close())
	if err := errors.Join(stale...); err != nil {
		return &StaleError{Key: key, Err: err}
	}
	return nil
}

// removeRecord unlinks the record: from then on the image is gone. The record
// is nil if an earlier Remove got that far.
func (s *Store) removeRecord(ctx context.Context, key appc.ImageID) (*Record, error) {
	rec, err := s.readRecord(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.hasRow(ctx, key)
	}
	if err != nil {
		s.log.Warn("removing an image whose record is unreadable", "image", key, "error", err)
		rec = nil
	}
	if err := unlink(s.recordPath(key)); err != nil {
		return nil, err
	}
	return rec, failpoint.Hit("image-rm.record")
}

// hasRow returns a *NotFoundError unless the index has a row of the image.
func (s *Store) hasRow(ctx context.Context, key appc.ImageID) error {
	return s.index.view(ctx, func(t *tx) error {
		_, ok, err := t.image(key)
		if err != nil || ok {
			return err
		}
		return &NotFoundError{Key: key}
	})
}

// removeFiles removes manifest and blobs.
func (s *Store) removeFiles(ctx context.Context, key appc.ImageID, rec *Record) error {
	errs := []error{unlink(s.manifestPath(key)), failpoint.Hit("image-rm.manifest"), unlink(s.aciPath(key))}
	if rec != nil && rec.Kind == OCI {
		errs = append(errs, s.removeBlobs(ctx, rec.blobs()))
	}
	return errors.Join(append(errs, failpoint.Hit("image-rm.blobs"))...)
}

// removeBlobs deletes those of some blobs that no record refers to and no
// import holds.
func (s *Store) removeBlobs(ctx context.Context, blobs []string) error {
	return s.withUnused(ctx, blobs, func(d digest) error {
		if err := unlink(s.blobPath(d)); err != nil {
			return err
		}
		return failpoint.Hit("image-rm.blob")
	})
}

// withUnused takes the locks of those blobs nobody holds, reads all records
// and calls fn for each blob none of them names. The records are read
// after the locks were taken, so an import that comes later finds the blob gone.
func (s *Store) withUnused(ctx context.Context, blobs []string, fn func(digest) error) error {
	locks := map[digest]*lock.Lock{}
	defer func() {
		for _, l := range locks {
			_ = l.Close()
		}
	}()
	for _, b := range blobs {
		d, err := parseDigest(b)
		if err != nil {
			return err
		}
		l, err := s.tryKeyLock(d.lockKey())
		if errors.Is(err, lock.ErrLocked) {
			continue // in use: garbage collection looks again
		}
		if err != nil {
			return err
		}
		locks[d] = l
	}
	if len(locks) == 0 {
		return nil
	}
	used, err := s.usedBlobs(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for d := range locks {
		if used[d.String()] {
			continue
		}
		errs = append(errs, fn(d), s.dropLockFile(d.lockKey()))
	}
	return errors.Join(errs...)
}

// usedBlobs is every blob a record names. An unreadable record is an error:
// what it names is unknown, so nothing can be said to be unused.
func (s *Store) usedBlobs(ctx context.Context) (map[string]bool, error) {
	used := map[string]bool{}
	var bad error
	err := s.eachRecord(func(r *Record) error {
		for _, b := range r.blobs() {
			used[b] = true
		}
		return ctx.Err()
	}, func(_ appc.ImageID, err error) { bad = errors.Join(bad, err) })
	return used, errors.Join(err, bad)
}

// dropLockFile removes a lock file that is held exclusively.
func (s *Store) dropLockFile(key string) error {
	err := os.Remove(s.path(lockDir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
