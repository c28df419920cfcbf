// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/ociarchive"
)

type imageExportOptions struct {
	image     string
	file      string
	overwrite bool
	format    exportFormat
}

func newImageExport(d *Deps) *cobra.Command {
	o := imageExportOptions{format: exportACI}
	cmd := &cobra.Command{
		Use:   "export IMAGE OUTPUT_ACI_FILE",
		Short: "Export a stored image to a file",
		Long: imageArgHelp + "\n\nThe file is the uncompressed archive, whose SHA-512 is the image ID. " +
			"With --format=oci-archive or docker-archive it is a tar with manifest, config and layers as they were received; an ACI becomes one layer.",
		Annotations: map[string]string{exitStatuses: exportStatuses},
		Args:        cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image, o.file = args[0], args[1]
			return runImageExport(cmd.Context(), d, o)
		},
	}
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "overwrite output ACI")
	cmd.Flags().Var(&o.format, "format", "form of the file; allowed values: "+quotedList(exportFormats()))
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
		if o.format != exportACI {
			return errors.New("output file exists (try --overwrite)")
		}
		return errors.New("output ACI file exists (try --overwrite)")
	}
	if o.format != exportACI {
		return withOCI(ctx, store, id, func(image *ociarchive.Image) error {
			return writeOutput(o.file, func(w io.Writer) error { return ociarchive.Write(w, image, ociarchive.Format(o.format)) })
		})
	}
	return writeOutput(o.file, func(w io.Writer) error { return store.WriteACI(ctx, id, w) })
}

// exportFormat is --format of `image export`.
type exportFormat string

const exportACI exportFormat = "aci"

func exportFormats() []string {
	return []string{string(exportACI), string(ociarchive.OCI), string(ociarchive.Docker)}
}

func (f *exportFormat) Set(s string) error {
	if !slices.Contains(exportFormats(), s) {
		return fmt.Errorf("unknown format %q", s)
	}
	*f = exportFormat(s)
	return nil
}

func (f *exportFormat) String() string { return string(*f) }
func (f *exportFormat) Type() string   { return "string" }
