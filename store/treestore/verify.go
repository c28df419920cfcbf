// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Result is what Verify found.
type Result struct {
	Key      appc.ImageID
	TreeID   string
	Rendered bool     // otherwise there was nothing to verify
	Damage   error    // nil: every byte is as the image says
	Damaged  []string // IDs of the trees that have to be made anew
}

// Verify compares the trees of an image with the image: all metadata and all
// contents. The error tells that this could not be done; damage is in the Result.
func (t *Store) Verify(ctx context.Context, key appc.ImageID) (Result, error) {
	p, err := t.plan(key) //nolint:contextcheck // waits for the index at most, as Resolve and Find do
	if err != nil {
		return Result{}, err
	}
	r := Result{Key: p.key, TreeID: p.id}
	if _, err := os.Lstat(t.d.tree(p.id)); errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return r, err
	}
	r.Rendered = true
	if p.rec.Kind == imagestore.OCI && !p.merged() {
		err = t.verifyOCI(ctx, p, &r)
	} else {
		err = r.add(p.id, t.verifyTree(ctx, p.id, func() error { return t.verifyACI(ctx, p) }))
	}
	return r, err
}

// Rebuild makes those trees anew that Verify found damaged.
func (t *Store) Rebuild(ctx context.Context, r Result) (Tree, error) {
	return t.render(ctx, r.Key, r.Damaged)
}

// add notes damage; other errors are returned.
func (r *Result) add(id string, err error) error {
	var changed *layer.ChangedError
	if err == nil || !errors.As(err, &changed) {
		return err
	}
	r.Damage = errors.Join(r.Damage, err)
	r.Damaged = append(r.Damaged, id)
	return nil
}

// verifyTree checks index and metadata of a tree, then its content.
func (t *Store) verifyTree(ctx context.Context, id string, content func() error) error {
	ref, err := t.d.open(ctx, id, true)
	if errors.Is(err, fs.ErrNotExist) {
		return &layer.ChangedError{Path: ".", What: "missing"}
	}
	if err != nil {
		return err
	}
	return errors.Join(content(), ref.Close())
}

func (t *Store) verifyACI(ctx context.Context, p *plan) (err error) {
	if p.merged() {
		return t.compareRebuilt(ctx, p.id, func(dr *draft) error { return t.fillACI(ctx, p, dr) })
	}
	return pipe(func(w io.Writer) error {
		return t.images.WriteACI(ctx, p.key, w)
	}, func(r io.Reader) error {
		return layer.VerifyTar(ctx, t.d.source(p.id), r, layer.UnpackOptions{ACI: true, Limits: t.limits})
	})
}

func (t *Store) verifyOCI(ctx context.Context, p *plan, r *Result) error {
	seen := map[string]bool{}
	for i, diffID := range p.rec.TreeLayers() {
		id := layerTreeID(diffID)
		if seen[id] {
			continue
		}
		seen[id] = true
		err := t.verifyTree(ctx, id, func() error { return t.verifyLayer(ctx, p.rec, i, id) })
		if err := r.add(id, err); err != nil {
			return err
		}
	}
	if r.Damage != nil {
		// What lies on top depends on the layers; it is made anew with them.
		r.Damaged = append(r.Damaged, p.id)
		return nil
	}
	return r.add(p.id, t.verifyTree(ctx, p.id, func() error { return t.verifyTop(ctx, p) }))
}

// verifyLayer compares the contents of a layer's tree, or of the one tree of a
// flat image, with the stored blobs.
func (t *Store) verifyLayer(ctx context.Context, rec *imagestore.Record, i int, id string) error {
	o := layer.UnpackOptions{Limits: t.limits}
	if rec.Flat == "" {
		return t.images.ReadLayer(ctx, rec.Layers[i], func(ctx context.Context, tar io.Reader) error {
			return layer.VerifyTar(ctx, t.d.source(id), tar, o)
		})
	}
	var opens []func() (io.ReadCloser, error)
	for _, d := range rec.Layers {
		opens = append(opens, func() (io.ReadCloser, error) { return t.images.OpenLayer(ctx, d), nil })
	}
	return layer.VerifyFlat(ctx, t.d.source(id), opens, o)
}

// verifyTop compares the tree on top of the layers with a new one.
func (t *Store) verifyTop(ctx context.Context, p *plan) (err error) {
	set, err := t.images.Layers(ctx, p.key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	return t.compareRebuilt(ctx, p.id, func(dr *draft) error {
		res, err := layer.WriteTop(ctx, dr.Rootfs(), set.Sources)
		if err != nil {
			return err
		}
		return res.WriteIndex(ctx, dr.file(draftIndex))
	})
}

// compareRebuilt makes a tree again as a draft and compares every byte.
func (t *Store) compareRebuilt(ctx context.Context, id string, fill func(*draft) error) (err error) {
	dr, err := t.d.newDraft(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dr.Discard()) }()
	if err := fill(dr); err != nil {
		return err
	}
	return sameTrees(ctx, t.d.source(id), dr.source())
}
