// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/ociarchive"
)

type imagePushOptions struct {
	image  string
	target string
}

func newImagePush(d *Deps) *cobra.Command {
	var o imagePushOptions
	return &cobra.Command{
		Use:   "push IMAGE docker://HOST/REPOSITORY[:TAG]",
		Short: "Push a stored image to a registry",
		Long: imageArgHelp + "\n\nAn image that came from a registry is pushed as it was received; an ACI becomes an OCI image with one layer. " +
			"Credentials come from where fetch has them, and are shown to that registry alone. The digest of the manifest is printed.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image, o.target = args[0], args[1]
			return runImagePush(cmd.Context(), d, o)
		},
	}
}

func runImagePush(ctx context.Context, d *Deps, o imagePushOptions) error {
	point, err := distribution.Parse(o.target)
	if err != nil {
		return err
	}
	ref, ok := point.(distribution.Docker)
	if !ok {
		return hint.With(fmt.Errorf("cannot push to %q: not a registry", o.target), "name it as docker://HOST/REPOSITORY[:TAG]")
	}
	f, err := d.fetcher(ctx, &downloadFlags{})
	if err != nil {
		return err
	}
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	id, err := findImage(store, o.image)
	if err != nil {
		return err
	}
	var digest string
	err = withOCI(ctx, store, id, func(image *ociarchive.Image) error {
		digest = image.Manifest.Digest
		return f.Push(ctx, image, ref)
	})
	if err != nil {
		return fmt.Errorf("cannot push image to %s: %w", ref.URL(), err)
	}
	return d.printf("%s", digest)
}
