// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// GCOptions say what garbage is old enough.
type GCOptions struct {
	// Grace is how long downloads, partial blobs and blobs no image refers to
	// are kept for the next attempt.
	Grace time.Duration
	Now   time.Time // zero: the current time
}

// GCReport lists what was removed.
type GCReport struct {
	Temporary []string // files and directories in tmp
	Blobs     []string // that no image refers to
	Manifests []string // without an image
	Rows      []appc.ImageID
	Locks     int // lock files nobody used
}

// GC removes what crashes and broken downloads left, but no image. Whatever
// another process is using stays. It does as much as it can; the error
// joins what failed.
func (s *Store) GC(ctx context.Context, o GCOptions) (*GCReport, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	g := &gc{s: s, o: o, before: o.Now.Add(-o.Grace), report: &GCReport{}}
	var errs []error
	for _, step := range []func(context.Context) error{
		g.tmp, g.partials, g.acis, g.manifests, g.blobs, g.recordTemps, g.rows, g.shards, g.locks,
	} {
		if err := ctx.Err(); err != nil {
			return g.report, errors.Join(append(errs, err)...)
		}
		errs = append(errs, step(ctx))
	}
	return g.report, errors.Join(errs...)
}

type gc struct {
	s      *Store
	o      GCOptions
	before time.Time
	report *GCReport
}

// old tells whether a file was last changed before the grace period. With
// no grace everything is old, whatever the clocks say.
func (g *gc) old(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && (g.o.Grace <= 0 || st.ModTime().Before(g.before))
}

// tmp removes unlocked scratch and old downloads.
func (g *gc) tmp(ctx context.Context) error {
	gate, err := g.s.keyLock(ctx, "tmp", lock.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = gate.Close() }()
	names, err := readNames(g.s.TempDir())
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		path := filepath.Join(g.s.TempDir(), name)
		if name == filepath.Base(partialDir) || !strings.HasPrefix(name, scratchPrefix) && !g.old(path) {
			continue
		}
		errs = append(errs, g.removeUnlocked(path))
	}
	return errors.Join(errs...)
}

// removeUnlocked removes a file or directory of tmp unless somebody has locked it.
func (g *gc) removeUnlocked(path string) error {
	// Scratch may be a directory its owner made unreadable: that is garbage of
	// an unprivileged user and is removed all the same.
	l, err := lock.TryTake(path, lock.Exclusive)
	switch {
	case errors.Is(err, lock.ErrLocked), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENXIO):
		return err
	}
	err = errors.Join(RemoveTree(path), l.Close())
	if err == nil {
		g.report.Temporary = append(g.report.Temporary, path)
		err = failpoint.Hit("image-gc.tmp")
	}
	return err
}

// partials removes old partial blobs nobody is downloading.
func (g *gc) partials(context.Context) error {
	names, err := readNames(g.s.path(partialDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		path := g.s.path(partialDir, name)
		if !g.old(path) {
			continue
		}
		errs = append(errs, g.underLock(name+downloadSuffix, func() error {
			if err := os.Remove(path); err != nil {
				return err
			}
			g.report.Temporary = append(g.report.Temporary, path)
			return failpoint.Hit("image-gc.tmp")
		}))
	}
	return errors.Join(errs...)
}

// underLock runs fn holding a key lock exclusively, or not at all if the lock
// is taken; the lock file goes afterwards.
func (g *gc) underLock(key string, fn func() error) error {
	l, err := g.s.tryKeyLock(key)
	if errors.Is(err, lock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	err = fn()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, g.s.dropLockFile(key), l.Close())
}

// acis removes archives without a record.
func (g *gc) acis(context.Context) error {
	return g.orphans(blobDir, &g.report.Blobs, "image-gc.blob")
}

// manifests removes manifests without a record.
func (g *gc) manifests(context.Context) error {
	return g.orphans(manifestDir, &g.report.Manifests, "image-gc.manifest")
}

func (g *gc) orphans(kind string, removed *[]string, point string) error {
	var errs []error
	err := g.s.shardFiles(kind, keyAlgorithm, func(path, name string) error {
		key, temp := keyOf(name)
		if key == "" || !temp && g.s.hasRecord(key) || !g.old(path) {
			return nil
		}
		errs = append(errs, g.underLock(string(key), func() error {
			if !temp && g.s.hasRecord(key) {
				return nil
			}
			if err := unlink(path); err != nil {
				return err
			}
			*removed = append(*removed, path)
			return failpoint.Hit(point)
		}))
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// keyOf is the key a file is named by; temp is true for the temporary files
// that become it by rename.
func keyOf(name string) (key appc.ImageID, temp bool) {
	if isKey(name) {
		return appc.ImageID(name), false
	}
	base, _, ok := strings.Cut(strings.TrimPrefix(name, "."), ".tmp-")
	if ok && isKey(base) {
		return appc.ImageID(base), true
	}
	return "", false
}

// recordTemps removes what killed writers of records left.
func (g *gc) recordTemps(context.Context) error {
	var errs []error
	err := g.s.shardFiles(recordDir, keyAlgorithm, func(path, name string) error {
		if key, temp := keyOf(name); temp {
			errs = append(errs, g.underLock(string(key), func() error { return unlink(path) }))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// gcBatch is how many blobs are locked at once.
const gcBatch = 100

// blobs removes OCI blobs no record refers to.
func (g *gc) blobs(ctx context.Context) error {
	used, err := g.s.usedBlobs(ctx)
	if err != nil {
		return err
	}
	var unused []string
	for _, algorithm := range []string{"sha256", "sha512"} {
		err := g.s.shardFiles(blobDir, algorithm, func(path, name string) error {
			base, _, _ := strings.Cut(strings.TrimPrefix(name, "."), ".tmp-")
			d, err := parseDigest(algorithm + ":" + base)
			if err != nil || name == base && used[d.String()] || !g.old(path) {
				return nil //nolint:nilerr // not a blob: not ours to remove
			}
			if name != base {
				return g.tempBlob(d, path)
			}
			unused = append(unused, d.String())
			return nil
		})
		if err != nil {
			return err
		}
	}
	var errs []error
	for len(unused) > 0 {
		n := min(len(unused), gcBatch)
		errs = append(errs, g.s.withUnused(ctx, unused[:n], func(d digest) error {
			path := g.s.blobPath(d)
			if err := unlink(path); err != nil {
				return err
			}
			g.report.Blobs = append(g.report.Blobs, path)
			return failpoint.Hit("image-gc.blob")
		}))
		unused = unused[n:]
	}
	return errors.Join(errs...)
}

func (g *gc) tempBlob(d digest, path string) error {
	return g.underLock(d.lockKey(), func() error {
		g.report.Blobs = append(g.report.Blobs, path)
		return unlink(path)
	})
}

// rows drops rows of images that are gone.
func (g *gc) rows(ctx context.Context) error {
	var rows []imageRow
	err := g.s.index.view(ctx, func(t *tx) error {
		var err error
		rows, err = t.allImages()
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range rows {
		if g.s.hasRecord(r.key) {
			continue
		}
		errs = append(errs, g.underLock(string(r.key), func() error {
			if g.s.hasRecord(r.key) {
				return nil
			}
			if err := g.s.index.update(ctx, func(t *tx) error { return t.deleteImage(r.key) }); err != nil {
				return err
			}
			g.report.Rows = append(g.report.Rows, r.key)
			return failpoint.Hit("image-gc.row")
		}))
	}
	return errors.Join(errs...)
}

// shards removes empty shard directories.
func (g *gc) shards(context.Context) error {
	for _, kind := range []string{blobDir, manifestDir, recordDir} {
		for _, algorithm := range []string{"sha256", "sha512"} {
			top := g.s.path(kind, algorithm)
			names, err := readNames(top)
			if err != nil {
				return err
			}
			for _, name := range names {
				_ = os.Remove(filepath.Join(top, name)) // fails unless it is empty
			}
		}
	}
	return nil
}

// locks removes lock files nobody holds.
func (g *gc) locks(context.Context) error {
	names, err := readNames(g.s.path(lockDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, g.dropIfFree(name))
	}
	return errors.Join(errs...)
}

func (g *gc) dropIfFree(name string) error {
	l, err := lock.TryTake(g.s.path(lockDir, name), lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	same, err := l.IsAt(g.s.path(lockDir, name))
	if err == nil && same {
		if err = g.s.dropLockFile(name); err == nil {
			g.report.Locks++
			err = failpoint.Hit("image-gc.lock")
		}
	}
	return errors.Join(err, l.Close())
}
