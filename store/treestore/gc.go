// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// RemoveError tells which tree could not be removed.
type RemoveError struct {
	ID  string
	Err error
}

func (e *RemoveError) Error() string {
	return fmt.Sprintf("error removing treestore %q: %v", e.ID, e.Err)
}
func (e *RemoveError) Unwrap() error { return e.Err }

// GC removes the trees that are not in use, calling removed after each (nil:
// nobody listens), and what crashes left. inUse has the IDs pods refer to; the trees of the
// layers below those stay, too, and so does what another process is making.
// The caller holds the prepare lock exclusively, so no pod can start to use a
// tree meanwhile. Errors of single trees (*RemoveError) are joined.
func (t *Store) GC(ctx context.Context, inUse map[string]bool, removed func(id string)) error {
	names, err := os.ReadDir(t.d.path(treeDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	infos, err := t.d.infos(ctx)
	if err != nil {
		return err
	}
	keep := closure(inUse, infos)
	var errs []error
	sizes := map[appc.ImageID]int64{}
	for _, e := range names {
		id := e.Name()
		if keep[id] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		gone, err := t.d.remove(id)
		if err != nil {
			errs = append(errs, &RemoveError{ID: id, Err: err})
			continue
		}
		if !gone {
			continue
		}
		if info := infos[id]; info != nil && info.Image != "" {
			sizes[info.Image] = 0
		}
		if removed != nil {
			removed(id)
		}
	}
	errs = append(errs, t.images.SetTreeSizes(ctx, sizes), t.d.sweep(ctx, inUse))
	return errors.Join(errs...)
}

// closure adds the layers of the trees in use.
func closure(inUse map[string]bool, infos map[string]*treeInfo) map[string]bool {
	keep := map[string]bool{}
	for id, used := range inUse {
		if !used {
			continue
		}
		keep[id] = true
		if info := infos[id]; info != nil {
			for _, l := range info.Layers {
				keep[l] = true
			}
		}
	}
	return keep
}

// remove removes a tree unless it is locked: the marker, then the name, then
// the files. It tells whether the tree is gone.
func (d *dir) remove(id string) (bool, error) {
	if checkID(id) != nil {
		// Nothing this program made. An unfinished tree of rkt 1 looks like an ID.
		return false, nil
	}
	l, err := lock.TryKey(d.path(lockDir), id, lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = l.Close() }()
	trash, err := d.toTrash(id)
	if err != nil {
		return false, err
	}
	for _, path := range []string{d.index(id), d.info(id)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if err := os.RemoveAll(trash); err != nil {
		return false, err
	}
	if err := failpoint.Hit("image-gc.tree"); err != nil {
		return false, err
	}
	for _, key := range []string{id + placeSuffix, id} {
		if err := os.Remove(d.path(lockDir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// toTrash takes the marker and the name from a tree.
func (d *dir) toTrash(id string) (string, error) {
	err := os.Remove(filepath.Join(d.tree(id), renderedName))
	if err == nil {
		err = atomicfile.SyncDir(d.tree(id))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := failpoint.Hit("image-gc.tree-marker"); err != nil {
		return "", err
	}
	trash, err := os.MkdirTemp(d.path(unpackDir), trashPrefix)
	if err != nil {
		return "", err
	}
	if err := os.Rename(d.tree(id), filepath.Join(trash, draftTree)); err != nil {
		return "", errors.Join(err, os.Remove(trash))
	}
	return trash, failpoint.Hit("image-gc.tree-moved")
}

// sweep removes drafts nobody works on, trash, former trees no pod uses, notes
// without a tree and lock files nobody holds.
func (d *dir) sweep(ctx context.Context, inUse map[string]bool) error {
	if err := d.make(); err != nil {
		return err
	}
	gate, err := lock.Take(ctx, d.path(unpackDir), lock.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = gate.Close() }()
	names, err := readNames(d.path(unpackDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, asidePrefix); ok {
			id, _, _ = strings.Cut(id, ".")
			if d.asideInUse(id, inUse) {
				continue
			}
		}
		errs = append(errs, d.removeUnlocked(d.path(unpackDir, name)))
	}
	return errors.Join(append(errs, d.sweepInfos(), d.sweepLocks())...)
}

// asideInUse tells whether a pod may have a former tree mounted: one of the
// ID, or for a layer, one whose image has that layer.
func (d *dir) asideInUse(id string, inUse map[string]bool) bool {
	if inUse[id] {
		return true
	}
	infos := map[string]*treeInfo{}
	for used := range inUse {
		if info, err := d.readInfo(used); err == nil {
			infos[used] = info
		}
	}
	return closure(inUse, infos)[id]
}

func (d *dir) removeUnlocked(path string) error {
	l, err := lock.TryTake(path, lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(path), l.Close()); err != nil {
		return err
	}
	return failpoint.Hit("image-gc.unpack")
}

// sweepInfos removes indexes and notes whose tree is gone.
func (d *dir) sweepInfos() error {
	names, err := readNames(d.path(infoDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		id := strings.TrimSuffix(name, ".json")
		if checkID(id) == nil {
			errs = append(errs, d.dropInfo(id, name))
		}
	}
	return errors.Join(errs...)
}

func (d *dir) dropInfo(id, name string) error {
	if _, err := os.Lstat(d.tree(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := lock.TryKey(d.path(lockDir), id, lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if _, err := os.Lstat(d.tree(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(d.path(infoDir, name))
}

func (d *dir) sweepLocks() error {
	names, err := readNames(d.path(lockDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if _, err := os.Lstat(d.tree(strings.TrimSuffix(name, placeSuffix))); err == nil {
			continue
		}
		l, err := lock.TryTake(d.path(lockDir, name), lock.Exclusive)
		if err != nil {
			continue // in use, or gone
		}
		errs = append(errs, os.Remove(d.path(lockDir, name)), l.Close())
	}
	return errors.Join(errs...)
}
