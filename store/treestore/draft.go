// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// draft is a directory unpack/draft-*: the tree, its index and its note, all
// under the names they get elsewhere.
type draft struct {
	d    *dir
	path string
	l    *lock.Lock
	id   string // since Seal
	info treeInfo
}

// Names in the directory of a draft.
const (
	draftTree  = "tree"
	draftIndex = "index"
	draftInfo  = "info"
)

// Draft implements imagestore.TreeSink.
func (d *dir) Draft(ctx context.Context) (imagestore.Draft, error) { return d.newDraft(ctx) }

func (d *dir) newDraft(ctx context.Context) (*draft, error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	// Garbage collection holds this lock exclusively: it never sees a draft
	// that is made but not locked yet.
	gate, err := lock.Take(ctx, d.path(unpackDir), lock.Shared)
	if err != nil {
		return nil, err
	}
	defer func() { _ = gate.Close() }()
	path, err := os.MkdirTemp(d.path(unpackDir), draftPrefix)
	if err != nil {
		return nil, err
	}
	l, err := lock.TryTake(path, lock.Exclusive)
	if err != nil {
		return nil, err
	}
	dr := &draft{d: d, path: path, l: l}
	for _, dir := range []string{dr.file(draftTree), dr.Rootfs()} {
		if err := plainDir(dir); err != nil {
			return nil, errors.Join(err, dr.Discard())
		}
	}
	return dr, nil
}

// plainDir makes a directory of root's with mode 0755: without the group and
// the setgid bit that directories of the store pass on.
func plainDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := os.Chown(path, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func (dr *draft) file(name string) string { return filepath.Join(dr.path, name) }

// Rootfs implements imagestore.Draft.
func (dr *draft) Rootfs() string { return filepath.Join(dr.path, draftTree, rootfsName) }

// source is the draft as a layer, once it has an index.
func (dr *draft) source() layer.Source {
	return layer.Source{Root: dr.Rootfs(), Index: dr.file(draftIndex)}
}

// Seal implements imagestore.Draft.
func (dr *draft) Seal(ctx context.Context, t imagestore.Tree, res *layer.Result) error {
	if err := res.WriteIndex(ctx, dr.file(draftIndex)); err != nil {
		return err
	}
	return dr.sealIndexed(t, treeIDOf(t))
}

// treeIDOf is the ID of a tree that depends on no other image.
func treeIDOf(t imagestore.Tree) string {
	if t.DiffID != "" {
		return layerTreeID(t.DiffID)
	}
	return ID(t.Image.String())
}

// sealIndexed is Seal for a draft whose index is written.
func (dr *draft) sealIndexed(t imagestore.Tree, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	hash, err := hashFile(dr.file(draftIndex))
	if err != nil {
		return fmt.Errorf("cannot calculate tree hash: %w", err)
	}
	files := map[string]string{hashName: hash}
	if t.DiffID == "" {
		files[manifestName] = string(t.Manifest)
		files[imageName] = string(t.Image.Key())
	}
	files[renderedName] = "" // means something in CAS/tree only, where a draft gets flushed
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dr.path, draftTree, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	dr.id, dr.info = id, treeInfo{Image: t.Image.Key()}
	for _, l := range t.Layers {
		dr.info.Layers = append(dr.info.Layers, layerTreeID(l))
	}
	if dr.info.Size, err = layer.TreeSize(dr.file(draftTree)); err != nil {
		return err
	}
	data, err := json.Marshal(dr.info)
	if err != nil {
		return err
	}
	if err := os.WriteFile(dr.file(draftInfo), data, 0o600); err != nil {
		return err
	}
	return failpoint.Hit("render.sealed")
}

// Place implements imagestore.Draft.
func (dr *draft) Place(ctx context.Context, replace bool) (_ *imagestore.TreeRef, err error) {
	locks := dr.d.path(lockDir)
	hold, err := lock.Key(ctx, locks, dr.id, lock.Shared)
	if err != nil {
		return nil, fmt.Errorf("error locking tree store: %w", err)
	}
	defer func() {
		if err != nil {
			_ = hold.Close()
		}
	}()
	place, err := lock.Key(ctx, locks, dr.id+placeSuffix, lock.Exclusive)
	if err != nil {
		return nil, fmt.Errorf("error locking tree store: %w", err)
	}
	defer func() { _ = place.Close() }()
	size := dr.info.Size
	if old := dr.keeps(replace); old != nil {
		size = old.Size
	} else if err := dr.move(); err != nil {
		return nil, err
	}
	if err := dr.Discard(); err != nil {
		return nil, err
	}
	return &imagestore.TreeRef{Source: dr.d.source(dr.id), Size: size, Hold: hold}, nil
}

// keeps returns the note of the tree that is there already and may stay.
func (dr *draft) keeps(replace bool) *treeInfo {
	if replace {
		return nil
	}
	old, err := dr.d.readInfo(dr.id)
	if err != nil || !slices.Equal(old.Layers, dr.info.Layers) || dr.d.checkHash(dr.id) != nil {
		return nil
	}
	return old
}

// move renames index, note and tree into place. In between the old tree, if
// there is one, has an index that is not its own, and so counts as damaged.
func (dr *draft) move() error {
	if err := os.Rename(dr.file(draftIndex), dr.d.index(dr.id)); err != nil {
		return err
	}
	if err := os.Rename(dr.file(draftInfo), dr.d.info(dr.id)); err != nil {
		return err
	}
	if err := failpoint.Hit("render.index"); err != nil {
		return err
	}
	from, to := dr.file(draftTree), dr.d.tree(dr.id)
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == nil {
		return failpoint.Hit("render.placed")
	}
	if !errors.Is(err, unix.EEXIST) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: from, New: to, Err: err}
	}
	if err := failpoint.Hit("render.placed"); err != nil {
		return err
	}
	return dr.d.setAside(from, dr.id)
}

// setAside keeps what was the tree id for pods that have it mounted. Garbage
// collection removes it when no pod refers to that ID.
func (d *dir) setAside(from, id string) error {
	to, err := os.MkdirTemp(d.path(unpackDir), asidePrefix+id+".")
	if err != nil {
		return err
	}
	if err := os.Rename(from, filepath.Join(to, draftTree)); err != nil {
		return err
	}
	return failpoint.Hit("render.aside")
}

// Discard implements imagestore.Draft.
func (dr *draft) Discard() error {
	if dr.l == nil {
		return nil
	}
	err := errors.Join(os.RemoveAll(dr.path), dr.l.Close())
	dr.l = nil
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
