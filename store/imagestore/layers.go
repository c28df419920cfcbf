// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"io"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// LayerSet is the unpacked layers of an OCI image, which cannot be removed before Close.
type LayerSet struct {
	Sources []layer.Source // base first
	DiffIDs []string
	Size    int64    // of the trees, each counted once
	Rebuilt []string // diff IDs of trees that were found damaged
	im      *OCIImport
}

// Close lets go of the layers.
func (l *LayerSet) Close() error { return l.im.Close() }

// Layers unpacks what is not unpacked of an OCI image, compares the trees that
// are there with their index and replaces damaged ones, and those whose diff
// IDs are given, without a look. Without a tree sink the layers go to scratch that
// Close removes. An ACI has none.
func (s *Store) Layers(ctx context.Context, id appc.ImageID, damaged ...string) (*LayerSet, error) {
	rec, err := s.Record(id)
	if err != nil {
		return nil, err
	}
	set, err := s.layers(ctx, rec, damaged)
	if err != nil {
		_ = set.Close() // the first error counts
		return nil, err
	}
	return set, nil
}

func (s *Store) layers(ctx context.Context, rec *Record, damaged []string) (*LayerSet, error) {
	im, err := s.BeginOCI(ctx)
	if err != nil {
		return nil, err
	}
	im.check = true
	im.renew = map[string]bool{}
	for _, id := range damaged {
		im.renew[id] = true
	}
	im.known = map[layerID]bool{}
	set := &LayerSet{im: im}
	if rec.Flat != "" {
		return set, set.flatLayers(ctx, rec)
	}
	for _, d := range rec.Layers {
		b, err := specOf(d)
		if err != nil {
			return set, err
		}
		im.known[layerID{b.digest, b.diffID}] = true
		if err := im.PutLayer(ctx, d, nil); err != nil {
			return set, err
		}
		set.DiffIDs = append(set.DiffIDs, d.DiffID)
	}
	im.work.Wait()
	if im.err != nil {
		return set, im.err
	}
	c := &commit{im: im, s: s, img: OCIImage{Layers: rec.Layers}}
	if err := c.collect(); err != nil {
		return set, err
	}
	set.Sources, set.Size, set.Rebuilt = c.sources, c.treeSize, im.mended
	return set, nil
}

// ReadLayer gives the uncompressed tar of a layer of an OCI image to fn, and
// fails unless digest, size and diff ID were right at its end.
func (s *Store) ReadLayer(ctx context.Context, d layer.Descriptor, fn func(ctx context.Context, tar io.Reader) error) error {
	b, err := specOf(d)
	if err != nil {
		return err
	}
	_, err = s.readBlob(ctx, b, func(ctx context.Context, r io.Reader) (*layer.Result, error) {
		if err := fn(ctx, r); err != nil {
			return nil, err
		}
		return discard(ctx, r)
	})
	return err
}
