// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Options of a Store.
type Options struct {
	// Logger gets warnings about damaged trees; nil discards them.
	Logger *slog.Logger
}

// Store is an open tree store. Its methods may be called concurrently.
type Store struct {
	d      *dir
	images *imagestore.Store
	log    *slog.Logger
	limits layer.Limits
}

// Tree is a rendered image.
type Tree struct {
	ID       string
	Lowers   []string // absolute root directories, top first: the lower side of an overlay
	Manifest *appc.ImageManifest
}

// Open opens the tree store of a CAS directory. As root it becomes the tree
// sink of images. There is nothing to close.
func Open(_ context.Context, casDir string, images *imagestore.Store, o Options) (*Store, error) {
	abs, err := filepath.Abs(casDir)
	if err != nil {
		return nil, err
	}
	t := &Store{d: &dir{cas: abs}, images: images, log: o.Logger, limits: images.Limits()}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if os.Geteuid() == 0 {
		images.UseTrees(t.d)
	}
	return t, nil
}

// ID is the tree store ID of an image without dependencies.
func ID(key string) string { return idOf([]string{key}) }

// idOf is the ID for the flattened list of an image's dependencies.
func idOf(keys []string) string {
	h := sha512.New()
	for i, key := range keys {
		if i > 0 {
			_, _ = io.WriteString(h, ",")
		}
		_, _ = io.WriteString(h, string(appc.ImageID(key).Key()))
	}
	return imagePrefix + string(appc.ImageIDFromSum(h.Sum(nil)).Key())
}

// Render returns the tree of an image, which is made if it is not there, and
// made anew, with a warning, if lstat finds it changed. It counts as use of
// the image.
func (t *Store) Render(ctx context.Context, key appc.ImageID) (Tree, error) {
	if err := t.images.Touch(key); err != nil {
		return Tree{}, err
	}
	return t.render(ctx, key, nil)
}

// render is Render that also replaces the trees with the IDs given.
func (t *Store) render(ctx context.Context, key appc.ImageID, damaged []string) (Tree, error) {
	p, err := t.plan(key) //nolint:contextcheck // waits for the index at most, as Resolve and Find do
	if err != nil {
		return Tree{}, err
	}
	var rebuilt bool
	if p.rec.Kind == imagestore.OCI && !p.merged() {
		rebuilt, err = t.renderOCI(ctx, p, damaged)
	} else {
		rebuilt, err = t.renderACI(ctx, p, damaged)
	}
	if err != nil {
		return Tree{}, fmt.Errorf("cannot render aci %s: %w", key.Key(), err)
	}
	if rebuilt {
		if err := t.noteSizes(ctx, p.id); err != nil {
			return Tree{}, err
		}
	}
	return t.Get(ctx, p.id)
}

// noteSizes writes the size of an image's trees into the image index.
func (t *Store) noteSizes(ctx context.Context, id string) error {
	info, err := t.d.readInfo(id)
	if err != nil {
		return err
	}
	infos := map[string]*treeInfo{}
	for _, l := range info.Layers {
		if infos[l], err = t.d.readInfo(l); err != nil {
			return err
		}
	}
	return t.images.SetTreeSizes(ctx, map[appc.ImageID]int64{info.Image: sizeOf(info, infos)})
}

// usable tells whether the tree of a plan is there and unharmed. replace is
// true if there is one that is not.
func (t *Store) usable(ctx context.Context, id string, damaged []string) (ok, replace bool, err error) {
	if slices.Contains(damaged, id) {
		return false, true, nil
	}
	ref, err := t.d.open(ctx, id, true)
	var changed *layer.ChangedError
	switch {
	case errors.As(err, &changed):
		t.log.Warn("tree cache is in a bad state. Rebuilding...", "tree", id, "error", err)
		return false, true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	return true, false, ref.Close()
}

func (t *Store) renderOCI(ctx context.Context, p *plan, damaged []string) (rebuilt bool, err error) {
	var layers []string
	for _, diffID := range p.rec.TreeLayers() {
		if slices.Contains(damaged, layerTreeID(diffID)) {
			layers = append(layers, diffID)
		}
	}
	set, err := t.images.Layers(ctx, p.key, layers...)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	ok, replace, err := t.usable(ctx, p.id, damaged)
	if err != nil {
		return false, err
	}
	info, ierr := t.d.readInfo(p.id)
	if ok && ierr == nil && slices.Equal(info.Layers, treeIDs(set.DiffIDs)) {
		return len(set.Rebuilt) > 0, nil
	}
	return true, t.build(ctx, p, replace, func(dr *draft) error {
		res, err := layer.WriteTop(ctx, dr.Rootfs(), set.Sources)
		if err != nil {
			return err
		}
		return dr.Seal(ctx, imagestore.Tree{Image: p.key, Manifest: p.manifest, Layers: set.DiffIDs}, res)
	})
}

func treeIDs(diffIDs []string) []string {
	ids := make([]string, len(diffIDs))
	for i, id := range diffIDs {
		ids[i] = layerTreeID(id)
	}
	return ids
}

func (t *Store) renderACI(ctx context.Context, p *plan, damaged []string) (bool, error) {
	ok, replace, err := t.usable(ctx, p.id, damaged)
	if err != nil || ok {
		return false, err
	}
	return true, t.build(ctx, p, replace, func(dr *draft) error { return t.fillACI(ctx, p, dr) })
}

// fillACI makes the tree of an ACI, alone or merged with its dependencies, in a draft and seals that.
func (t *Store) fillACI(ctx context.Context, p *plan, dr *draft) error {
	tree := imagestore.Tree{Image: p.key, Manifest: p.manifest}
	if p.merged() {
		if err := t.merge(ctx, p, dr); err != nil {
			return err
		}
		return dr.sealIndexed(tree, p.id)
	}
	res, err := t.unpackACI(ctx, p.key, dr.Rootfs(), nil)
	if err != nil {
		return err
	}
	return dr.Seal(ctx, tree, res)
}

// build fills a draft, flushes it and puts it into its place.
func (t *Store) build(ctx context.Context, p *plan, replace bool, fill func(*draft) error) (err error) {
	dr, err := t.d.newDraft(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dr.Discard()) }()
	if err := fill(dr); err != nil {
		return err
	}
	if err := atomicfile.SyncFS(dr.path); err != nil {
		return err
	}
	if err := failpoint.Hit("render.flushed"); err != nil {
		return err
	}
	ref, err := dr.Place(ctx, replace)
	if err != nil {
		return fmt.Errorf("place tree %s: %w", p.id, err)
	}
	return ref.Close()
}

// Get returns a rendered tree by its ID, whether or not its image is still in
// the store. The error is fs.ErrNotExist if it is not there.
func (t *Store) Get(_ context.Context, id string) (Tree, error) {
	info, err := t.d.readInfo(id)
	if err != nil {
		return Tree{}, fmt.Errorf("get tree %s: %w", id, err)
	}
	data, err := os.ReadFile(filepath.Join(t.d.tree(id), manifestName))
	if err != nil {
		return Tree{}, fmt.Errorf("get tree %s: %w", id, err)
	}
	m, err := appc.ParseImageManifest(data)
	if err != nil {
		return Tree{}, fmt.Errorf("get tree %s: %w", id, err)
	}
	tree := Tree{ID: id, Manifest: m, Lowers: []string{t.d.rootfs(id)}}
	for _, l := range slices.Backward(info.Layers) {
		if _, err := t.d.readInfo(l); err != nil {
			return Tree{}, fmt.Errorf("get tree %s: layer %s: %w", id, l, err)
		}
		tree.Lowers = append(tree.Lowers, t.d.rootfs(l))
	}
	return tree, nil
}

// CopyTo makes the existing empty directory dst a plain copy of a tree. shift
// is added to all owners; those must be below count unless that is 0.
func (t *Store) CopyTo(ctx context.Context, tree Tree, dst string, shift, count uint32) error {
	sources, err := t.sources(tree.ID)
	if err != nil {
		return err
	}
	return layer.CopyMerged(ctx, dst, sources, layer.CopyOptions{Shift: shift, Count: count})
}

// sources are all trees of an image, base first.
func (t *Store) sources(id string) ([]layer.Source, error) {
	info, err := t.d.readInfo(id)
	if err != nil {
		return nil, err
	}
	var list []layer.Source
	for _, l := range info.Layers {
		list = append(list, t.d.source(l))
	}
	return append(list, t.d.source(id)), nil
}
