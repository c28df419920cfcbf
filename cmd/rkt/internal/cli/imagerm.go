// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

type imageRmOptions struct{ images []string }

func newImageRm(d *Deps) *cobra.Command {
	var o imageRmOptions
	return &cobra.Command{
		Use:   "rm IMAGE...",
		Short: "Remove image(s) with the given ID(s) or name(s) from the local store",
		Long:  imageArgHelp + "\n\nPods that are prepared or run keep working.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return runImageRm(cmd.Context(), d, o)
		},
	}
}

func runImageRm(ctx context.Context, d *Deps, o imageRmOptions) error {
	if len(o.images) == 0 {
		return errors.New("must provide at least one image ID")
	}
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	var found []namedImage
	for _, arg := range o.images {
		id, err := findImage(removable{store}, arg)
		if err != nil {
			d.printError(err)
			continue
		}
		if !slices.ContainsFunc(found, func(other namedImage) bool { return other.id == id }) {
			found = append(found, namedImage{arg, id})
		}
	}
	if len(found) == 0 {
		return errReported
	}
	return removeImages(ctx, d, store, found)
}

// namedImage is an image and how it was asked for.
type namedImage struct {
	name string
	id   appc.ImageID
}

// imageRemover removes one image.
type imageRemover interface {
	Remove(ctx context.Context, id appc.ImageID) error
}

// removeImages removes images and says how many; it fails if something of one
// stays.
func removeImages(ctx context.Context, d *Deps, store imageRemover, images []namedImage) error {
	var removed, stale, failed int
	for _, image := range images {
		err := store.Remove(ctx, image.id)
		var left *imagestore.StaleError
		switch {
		case errors.As(err, &left):
			stale++
			d.errorf("some files cannot be removed for image %q (%q): %s", image.name, image.id, oneLine(err.Error()))
		case err != nil:
			failed++
			d.errorf("error removing aci for image %q (%q): %s", image.name, image.id, oneLine(err.Error()))
		default:
			removed++
			if err := d.printf("successfully removed aci for image: %q", image.id); err != nil {
				return err
			}
		}
	}
	for _, total := range []struct {
		n    int
		text string
	}{
		{removed, "successfully removed"},
		{failed, "cannot be removed"},
		{stale, "removed but left some stale files"},
	} {
		if total.n > 0 {
			d.errorf("%d image(s) %s", total.n, total.text)
		}
	}
	if failed+stale > 0 {
		return errors.New("error(s) found while removing images")
	}
	return nil
}
