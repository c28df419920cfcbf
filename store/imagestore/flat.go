// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/rkt/rkt/v2/pkg/layer"
)

// A layer may write through a symbolic link, or link to a file, that only the
// layers below it supply. Such a layer has no tree of its own; its image is
// flat: it has one tree, made of all layers one on top of the other, under the
// chain ID where a layer's tree has the diff ID.

// TreeLayers are the diff IDs whose trees, base first, show the image
// together; for a flat image its chain ID.
func (r *Record) TreeLayers() []string {
	if r.Flat != "" {
		return []string{r.Flat}
	}
	var ids []string
	for _, l := range r.Layers {
		ids = append(ids, l.DiffID)
	}
	return ids
}

// chainID is the OCI ChainID of a sequence of layers (image-spec config.md).
func chainID(layers []layer.Descriptor) string {
	id := layers[0].DiffID
	for _, l := range layers[1:] {
		id = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id+" "+l.DiffID)))
	}
	return id
}

// unpackAlone is layer.Unpack, but a layer that cannot stand alone is no error.
func (u *unpacking) unpackAlone(ctx context.Context, r io.Reader, root string, o layer.UnpackOptions) (*layer.Result, error) {
	u.needsLower = nil
	res, err := layer.Unpack(ctx, r, root, o)
	if errors.Is(err, layer.ErrNeedsLower) {
		u.needsLower = err
		return nil, nil
	}
	return res, err
}

// flatten makes the one tree of a flat image, unless it is there and unharmed.
func (im *OCIImport) flatten(ctx context.Context, layers []layer.Descriptor) (*held, error) {
	b, err := specOf(layer.Descriptor{Digest: chainID(layers), DiffID: chainID(layers), Size: -1})
	if err != nil {
		return nil, err
	}
	id := layerID{b.digest, b.diffID}
	if h := im.layer(id); h != nil {
		return h, nil
	}
	ref, damaged, err := im.tree(ctx, b)
	if err != nil {
		return nil, err
	}
	h := &held{ref: ref}
	if ref == nil {
		u := &unpacking{im: im, id: id, replace: damaged}
		if err := u.flatten(ctx, layers, h); err != nil {
			return nil, errors.Join(err, u.discard())
		}
	}
	im.keep(id, h)
	return h, nil
}

func (u *unpacking) flatten(ctx context.Context, layers []layer.Descriptor, h *held) error {
	root, err := u.root(ctx)
	if err != nil {
		return err
	}
	s := u.im.s
	var opens []func() (io.ReadCloser, error)
	for _, d := range layers {
		opens = append(opens, func() (io.ReadCloser, error) { return s.OpenLayer(ctx, d), nil })
	}
	o := layer.UnpackOptions{Unprivileged: s.trees == nil, Limits: s.limits}
	if u.res, err = layer.Flatten(ctx, root, opens, o); err != nil {
		return err
	}
	return u.settle(ctx, blobSpec{diffID: u.id.diffID}, false, h)
}

// OpenLayer reads the uncompressed tar of a stored layer. Its end is an error
// unless digest, size and diff ID were right. The caller closes it.
func (s *Store) OpenLayer(ctx context.Context, d layer.Descriptor) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_ = w.CloseWithError(s.ReadLayer(ctx, d, func(_ context.Context, tar io.Reader) error {
			_, err := io.CopyBuffer(onlyWriter{w}, onlyReader{tar}, make([]byte, chunkSize))
			return err
		}))
	}()
	return r
}

// scratchIndex is where an unprivileged user's layer has its index.
func (u *unpacking) scratchSource() layer.Source {
	return layer.Source{Root: filepath.Join(u.dir.path, "rootfs"), Index: filepath.Join(u.dir.path, "index")}
}

// needLower tells whether any of the layers cannot stand alone.
func (im *OCIImport) needLower(layers []layer.Descriptor) bool {
	return slices.ContainsFunc(layers, func(d layer.Descriptor) bool {
		b, err := specOf(d)
		if err != nil {
			return false
		}
		h := im.layer(layerID{b.digest, b.diffID})
		return h != nil && h.needsLower
	})
}

// compose finds the trees of the image, flattens it where its layers cannot
// stand alone, and starts the tree on top of them.
func (c *commit) compose(ctx context.Context) (*topTree, error) {
	if c.im.needLower(c.img.Layers) {
		return c.composeFlat(ctx)
	}
	if err := c.collect(); err != nil {
		return nil, err
	}
	top, err := c.startTop(ctx)
	if c.s.trees == nil {
		err = layer.Merge(ctx, c.sources, func(*layer.Merged) error { return nil })
	}
	var implicit *layer.ImplicitError
	if errors.As(err, &implicit) {
		return c.composeFlat(ctx)
	}
	return top, err
}

func (c *commit) composeFlat(ctx context.Context) (*topTree, error) {
	h, err := c.im.flatten(ctx, c.img.Layers)
	if err != nil {
		return nil, err
	}
	c.flat = chainID(c.img.Layers)
	c.sources, c.treeSize = []layer.Source{h.source}, 0
	if h.ref != nil {
		c.sources, c.treeSize = []layer.Source{h.ref.Source}, h.ref.Size
	}
	return c.startTop(ctx)
}

// flatLayers is Layers for a flat image.
func (set *LayerSet) flatLayers(ctx context.Context, rec *Record) error {
	for _, d := range rec.Layers {
		b, err := specOf(d)
		if err != nil {
			return err
		}
		if err := set.im.hold(ctx, b.digest); err != nil {
			return err
		}
	}
	h, err := set.im.flatten(ctx, rec.Layers)
	if err != nil {
		return err
	}
	set.DiffIDs, set.Rebuilt = []string{rec.Flat}, set.im.mended
	set.Sources = []layer.Source{h.source}
	if h.ref != nil {
		set.Sources, set.Size = []layer.Source{h.ref.Source}, h.ref.Size
	}
	return nil
}
