// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"
)

type imageCatManifestOptions struct {
	image  string
	pretty bool
}

func newImageCatManifest(d *Deps) *cobra.Command {
	var o imageCatManifestOptions
	cmd := &cobra.Command{
		Use:   "cat-manifest IMAGE",
		Short: "Inspect and print the image manifest",
		Long:  imageArgHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image = args[0]
			return runImageCatManifest(cmd.Context(), d, o)
		},
	}
	cmd.Flags().BoolVar(&o.pretty, "pretty-print", true, "apply indent to format the output")
	return cmd
}

// imageArgHelp says what IMAGE is for commands on stored images.
const imageArgHelp = "IMAGE should be a string referencing an image; either an ID or an image name."

func runImageCatManifest(ctx context.Context, d *Deps, o imageCatManifestOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	id, err := findImage(store, o.image)
	if err != nil {
		return err
	}
	m, err := store.Manifest(id)
	if err != nil {
		return err
	}
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	return d.printManifest(data, o.pretty)
}
