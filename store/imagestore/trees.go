// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"io"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// TreeSink is where unpacked layers go. The tree store is one.
type TreeSink interface {
	// Draft starts an empty tree that nobody sees before it is placed.
	Draft(ctx context.Context) (Draft, error)
	// LayerTree finds the complete tree of the layer with a diff ID and keeps it
	// from being removed until the TreeRef is closed. The error is fs.ErrNotExist when
	// there is none. With check, the tree is compared with its index by lstat;
	// the error is then a *layer.ChangedError if it was modified.
	LayerTree(ctx context.Context, diffID string, check bool) (*TreeRef, error)
	// ImageSizes tells the size of the trees of every image that has some.
	ImageSizes(ctx context.Context) (map[appc.ImageID]int64, error)
}

// Draft is a tree under construction. One goroutine uses it.
type Draft interface {
	// Rootfs is the empty directory to unpack into.
	Rootfs() string
	// Seal writes everything but the place: index, hash, marker. The size is that
	// of images.md 12.
	Seal(ctx context.Context, t Tree, res *layer.Result) error
	// Place makes the tree visible. The caller has flushed the file system since
	// Seal. If there is a complete tree already, the draft is discarded, unless
	// replace is set or the other one is made of other layers: then they are exchanged
	// and the old one is kept for as long as a pod may use it.
	Place(ctx context.Context, replace bool) (*TreeRef, error)
	// Discard removes what is left of the draft; after Place that is nothing.
	Discard() error
}

// Tree says what a draft is: the tree of one layer, or of an image.
type Tree struct {
	DiffID   string       // of a layer
	Image    appc.ImageID // key; of an image
	Manifest []byte       // of an image
	Layers   []string     // diff IDs of an OCI image, base first
}

// TreeRef is a tree that cannot be removed before Close.
type TreeRef struct {
	Source layer.Source
	Size   int64 // images.md 12, "Size"
	Hold   io.Closer
}

// Close lets go of the tree.
func (r *TreeRef) Close() error {
	if r == nil || r.Hold == nil {
		return nil
	}
	return r.Hold.Close()
}
