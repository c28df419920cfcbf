// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// syncFile flushes one file.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// renameInto renames a flushed file; both directories are flushed.
func renameInto(from, to string) error { return atomicfile.Rename(from, to) }

// keyLock takes a lock file of the store. The group may use it whatever the
// umask of its creator was.
func (s *Store) keyLock(ctx context.Context, key string, m lock.Mode) (*lock.Lock, error) {
	l, err := lock.Key(ctx, s.path(lockDir), key, m)
	return shared(l), err
}

// tryKeyLock takes a lock exclusively or returns lock.ErrLocked.
func (s *Store) tryKeyLock(key string) (*lock.Lock, error) {
	l, err := lock.TryKey(s.path(lockDir), key, lock.Exclusive)
	return shared(l), err
}

func shared(l *lock.Lock) *lock.Lock {
	if l == nil {
		return nil
	}
	if st, err := l.File().Stat(); err == nil && st.Mode().Perm() != fileMode {
		_ = l.File().Chmod(fileMode) // of another user: that user did it
	}
	return l
}

// scratch is a directory or file in tmp that garbage collection leaves alone
// while it is locked.
type scratch struct {
	path string
	l    *lock.Lock
}

// Names of scratch in tmp start so; without a lock it is garbage at any age.
const scratchPrefix = "rkt-"

// newScratch makes a locked scratch directory, or a file.
func (s *Store) newScratch(ctx context.Context, dir bool) (*scratch, error) {
	// Garbage collection takes this lock exclusively, so it never sees scratch
	// that is made but not yet locked.
	gate, err := s.keyLock(ctx, "tmp", lock.Shared)
	if err != nil {
		return nil, err
	}
	defer func() { _ = gate.Close() }()
	path, err := makeScratch(s.TempDir(), dir)
	if err != nil {
		return nil, err
	}
	l, err := lock.TryTake(path, lock.Exclusive)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return &scratch{path: path, l: l}, nil
}

func makeScratch(parent string, dir bool) (string, error) {
	if dir {
		return os.MkdirTemp(parent, scratchPrefix)
	}
	f, err := os.CreateTemp(parent, scratchPrefix)
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(f.Chmod(fileMode), f.Close())
}

// Close removes the scratch, unless it was renamed.
func (sc *scratch) Close() error {
	return errors.Join(RemoveTree(sc.path), sc.l.Close())
}

// RemoveTree removes path with everything below it. Unlike os.RemoveAll it
// gets rid of directories an unprivileged user may not write, as images have them.
func RemoveTree(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return err
	}
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if d == nil || !d.IsDir() {
			return nil
		}
		_ = os.Chmod(p, 0o700) // what cannot be changed makes RemoveAll fail again
		if err != nil {
			// The directory could not be read before; look into it now.
			_ = RemoveTree(p)
			return fs.SkipDir
		}
		return nil
	})
	return os.RemoveAll(path)
}
