// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/treestore"
)

func newImageRender(d *Deps) *cobra.Command {
	var o imageDirOptions
	cmd := &cobra.Command{
		Use:   "render IMAGE OUTPUT_DIR",
		Short: "Render a stored image to a directory with all its dependencies",
		Long:  imageArgHelp,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image, o.dir = args[0], args[1]
			return runImageRender(cmd.Context(), d, o)
		},
	}
	o.bind(cmd)
	return cmd
}

func runImageRender(ctx context.Context, d *Deps, o imageDirOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	trees, err := d.Trees(ctx)
	if err != nil {
		return err
	}
	id, err := findImage(store, o.image)
	if err != nil {
		return err
	}
	l, err := d.lockTrees(ctx, lock.Shared)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	return o.fill(func(rootfs string) ([]byte, error) {
		tree, err := soundTree(ctx, d, trees, id)
		if err != nil {
			return nil, err
		}
		if err := trees.CopyTo(ctx, tree, rootfs, 0, 0); err != nil {
			return nil, fmt.Errorf("error copying ACI rootfs: %w", err)
		}
		return tree.Manifest.Marshal()
	})
}

// soundTree returns the tree of an image after all its bytes were verified.
func soundTree(ctx context.Context, d *Deps, trees *treestore.Store, id appc.ImageID) (treestore.Tree, error) {
	res, err := trees.Verify(ctx, id)
	if err != nil {
		return treestore.Tree{}, fmt.Errorf("error verifying tree store: %w", err)
	}
	render := func() (treestore.Tree, error) { return trees.Render(ctx, id) }
	if res.Damage != nil {
		d.errorf("warning: tree cache is in a bad state. Rebuilding...")
		render = func() (treestore.Tree, error) { return trees.Rebuild(ctx, res) }
	}
	tree, err := render()
	if err != nil {
		return treestore.Tree{}, fmt.Errorf("error rendering tree store: %w", err)
	}
	return tree, nil
}
