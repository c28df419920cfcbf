// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// imageDirOptions are those of extract and render.
type imageDirOptions struct {
	image      string
	dir        string
	rootfsOnly bool
	overwrite  bool
}

func (o *imageDirOptions) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.rootfsOnly, "rootfs-only", false, "extract rootfs only")
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "overwrite output directory")
}

func newImageExtract(d *Deps) *cobra.Command {
	var o imageDirOptions
	cmd := &cobra.Command{
		Use:   "extract IMAGE OUTPUT_DIR",
		Short: "Extract a stored image to a directory",
		Long:  imageArgHelp + "\n\nThe dependencies of the image are not applied; see \"rkt help image render\".",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image, o.dir = args[0], args[1]
			return runImageExtract(cmd.Context(), d, o)
		},
	}
	o.bind(cmd)
	return cmd
}

func runImageExtract(ctx context.Context, d *Deps, o imageDirOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	id, err := findImage(store, o.image)
	if err != nil {
		return err
	}
	return o.fill(func(rootfs string) ([]byte, error) {
		return extract(ctx, store, id, rootfs, d.EUID() != 0)
	})
}

// fill makes the output directory: unpack fills the rootfs and returns the
// image manifest.
func (o *imageDirOptions) fill(unpack func(rootfs string) ([]byte, error)) error {
	return outputDir(o.dir, o.overwrite, func(dir string) error {
		if o.rootfsOnly {
			_, err := unpack(dir)
			return err
		}
		rootfs := filepath.Join(dir, "rootfs")
		if err := os.Mkdir(rootfs, 0o755); err != nil {
			return err
		}
		manifest, err := unpack(rootfs)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "manifest"), manifest, 0o644)
	})
}

// extract unpacks the archive of one image while the store writes it.
func extract(ctx context.Context, store *imagestore.Store, id appc.ImageID, rootfs string, unprivileged bool) ([]byte, error) {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := store.WriteACI(ctx, id, w)
		_ = w.CloseWithError(err)
		written <- err
	}()
	res, err := layer.Unpack(ctx, r, rootfs, layer.UnpackOptions{
		ACI: true, Unprivileged: unprivileged, Limits: layer.DefaultLimits(),
	})
	_ = r.CloseWithError(errUnpackEnded)
	if writeErr := <-written; writeErr != nil && !errors.Is(writeErr, errUnpackEnded) {
		return nil, fmt.Errorf("cannot read image %s: %w", id, writeErr)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot extract image %s: %w", id, err)
	}
	return res.Manifest, nil
}

var errUnpackEnded = errors.New("unpacking ended")
