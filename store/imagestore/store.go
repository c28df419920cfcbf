// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// Options of a Store.
type Options struct {
	// Logger gets warnings (a damaged index, a failed clean-up); nil discards them.
	Logger *slog.Logger
	// Limits of archives; the zero value means layer.DefaultLimits.
	Limits layer.Limits
	// Trees takes unpacked layers. nil, as for unprivileged users: images are
	// stored without trees.
	Trees TreeSink
}

// Store is an open image store. Its methods may be called concurrently, and
// any number of processes may use the same directory.
type Store struct {
	dir    string
	log    *slog.Logger
	limits layer.Limits
	trees  TreeSink
	index  *index
	held   *lock.Lock // on dir
}

// Open opens the store in the CAS directory dir and creates what is missing of
// it. A store of rkt 1 is taken over, which needs root. The caller closes the
// store.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: abs, log: o.Logger, limits: o.Limits, trees: o.Trees}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.limits == (layer.Limits{}) {
		s.limits = layer.DefaultLimits()
	}
	s.index = &index{dir: s.path(indexDir), log: s.log, contents: s.contents, takeOver: s.takeOver}
	if err := makeDirs(s.dir); err != nil {
		return nil, err
	}
	if s.held, err = lock.Take(ctx, s.dir, lock.Shared); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.held.Close())
	}
	return s, nil
}

// prepare creates directories and takes over what rkt 1 left.
func (s *Store) prepare(ctx context.Context) error {
	for _, dir := range []string{blobDir, manifestDir, indexDir, tmpDir, partialDir, lockDir} {
		if err := makeDir(s.path(dir)); err != nil {
			return err
		}
	}
	if err := s.upgrade(ctx); err != nil {
		return err
	}
	return makeDir(s.path(recordDir))
}

// upgrade imports the index of rkt 1 where there is one and no record yet.
func (s *Store) upgrade(ctx context.Context) error {
	_, err := os.Stat(s.path(recordDir))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.index.present(); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := s.held.Wait(ctx, lock.Exclusive); err != nil {
		return err
	}
	if err := s.index.view(ctx, func(*tx) error { return nil }); err != nil {
		return err
	}
	return s.held.Wait(ctx, lock.Shared)
}

// UseTrees makes t the tree sink. Opening a tree store as root does that.
func (s *Store) UseTrees(t TreeSink) { s.trees = t }

// Limits are those the store was opened with.
func (s *Store) Limits() layer.Limits { return s.limits }

// Close releases the store.
func (s *Store) Close() error { return s.held.Close() }

// Dir is the CAS directory.
func (s *Store) Dir() string { return s.dir }

// TempDir is where downloads go: on the file system of the store, cleaned by
// garbage collection.
func (s *Store) TempDir() string { return s.path(tmpDir) }

// contents reads everything the index is made from.
func (s *Store) contents(ctx context.Context) (*contents, error) {
	var sizes map[appc.ImageID]int64
	if s.trees != nil {
		var err error
		if sizes, err = s.trees.ImageSizes(ctx); err != nil {
			return nil, err
		}
	}
	c := &contents{}
	newest := map[string]remoteRow{}
	err := s.eachRecord(func(r *Record) error {
		c.images = append(c.images, rowOf(r, sizes[r.ID.Key()]))
		for _, rr := range r.Remotes {
			if old, ok := newest[rr.URL]; !ok || old.Downloaded.Before(rr.Downloaded) {
				newest[rr.URL] = remoteRow{key: r.ID.Key(), RemoteRecord: rr}
			}
		}
		return ctx.Err()
	}, func(key appc.ImageID, err error) {
		s.log.Warn("skipped an unreadable image record", "image", key, "error", err)
	})
	for _, r := range newest {
		c.remotes = append(c.remotes, r)
	}
	return c, err
}

// ErrNotFound is what errors.Is finds in the errors for images that are not
// in the store.
var ErrNotFound = errors.New("image not found")

// NotFoundError is returned for a key that is not in the store.
type NotFoundError struct{ Key appc.ImageID }

func (e *NotFoundError) Error() string { return fmt.Sprintf("cannot find image with key: %s", e.Key) }

// Is makes errors.Is(err, ErrNotFound) true.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }
