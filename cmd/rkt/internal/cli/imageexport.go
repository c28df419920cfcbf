// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"
)

type imageExportOptions struct {
	image     string
	file      string
	overwrite bool
}

func newImageExport(d *Deps) *cobra.Command {
	var o imageExportOptions
	cmd := &cobra.Command{
		Use:         "export IMAGE OUTPUT_ACI_FILE",
		Short:       "Export a stored image to an ACI file",
		Long:        imageArgHelp + "\n\nThe file is the uncompressed archive, whose SHA-512 is the image ID.",
		Annotations: map[string]string{exitStatuses: exportStatuses},
		Args:        cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image, o.file = args[0], args[1]
			return runImageExport(cmd.Context(), d, o)
		},
	}
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "overwrite output ACI")
	return cmd
}

const exportStatuses = "0\tsuccess\n1\tthe output was written but could not be finished\n254\tany other failure"

func runImageExport(ctx context.Context, d *Deps, o imageExportOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	id, err := findImage(store, o.image)
	if err != nil {
		return err
	}
	found, err := exists(o.file)
	if err != nil {
		return err
	}
	if found && !o.overwrite {
		return errors.New("output ACI file exists (try --overwrite)")
	}
	return writeOutput(o.file, func(w io.Writer) error { return store.WriteACI(ctx, id, w) })
}
