// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/treestore"
)

type imageVerifyOptions struct{ images []string }

func newImageVerify(d *Deps) *cobra.Command {
	var o imageVerifyOptions
	return &cobra.Command{
		Use:   "verify IMAGE...",
		Short: "Verify one or more rendered images in the local store",
		Long:  imageArgHelp + "\n\nA tree that does not have the content of its image is rebuilt.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return runImageVerify(cmd.Context(), d, o)
		},
	}
}

func runImageVerify(ctx context.Context, d *Deps, o imageVerifyOptions) error {
	if len(o.images) == 0 {
		return errors.New("must provide at least one image ID")
	}
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	trees, err := d.Trees(ctx)
	if err != nil {
		return err
	}
	failed := false
	for _, arg := range o.images {
		if err := verifyImage(ctx, d, store, trees, arg); err != nil {
			d.printError(err)
			failed = true
		}
	}
	if failed {
		return errReported
	}
	return nil
}

func verifyImage(ctx context.Context, d *Deps, store *imagestore.Store, trees *treestore.Store, arg string) error {
	id, err := findImage(store, arg)
	if err != nil {
		return fmt.Errorf("unable to resolve store key for image %s: %w", arg, err)
	}
	l, err := d.lockTrees(ctx, lock.Shared)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	res, err := trees.Verify(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("unable to get treestoreID for image %s: %w", arg, err)
	case !res.Rendered:
		return d.printf("image %q not rendered; no verification needed", arg)
	case res.Damage == nil:
		return d.printf("successfully verified checksum for image: %q (%q)", arg, id)
	}
	if err := d.printf("tree cache verification failed for image %s: %s;  rebuilding...", arg, oneLine(res.Damage.Error())); err != nil {
		return err
	}
	if _, err := trees.Rebuild(ctx, res); err != nil {
		return fmt.Errorf("unable to repair cache for image %s: %w", arg, err)
	}
	return nil
}
