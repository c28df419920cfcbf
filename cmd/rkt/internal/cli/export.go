// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/stage0"
)

type exportOptions struct {
	uuid      string
	file      string
	app       string
	overwrite bool
}

func newExport(d *Deps) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:         "export [--app=APPNAME] UUID OUTPUT_ACI_FILE",
		Short:       "Export an app from an exited pod to an ACI file",
		Long:        "UUID should be the UUID of an exited pod. The file is a gzip-compressed archive.",
		Annotations: map[string]string{exitStatuses: exportStatuses},
		Args:        cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uuid, o.file = args[0], args[1]
			return runExport(cmd.Context(), d, o)
		},
	}
	cmd.Flags().StringVar(&o.app, "app", "", "name of the app to export within the specified pod")
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "overwrite output ACI")
	return cmd
}

func runExport(ctx context.Context, d *Deps, o exportOptions) error {
	p, err := retrievePod(ctx, d, o.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	err = stage0.Export(ctx, p, stage0.ExportConfig{Env: env, App: o.app, Output: o.file, Overwrite: o.overwrite})
	var unfinished *stage0.FinishError
	if errors.As(err, &unfinished) {
		return &statusError{statusLegacy, err}
	}
	return err
}
