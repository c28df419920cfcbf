// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/stage0"
)

type attachOptions struct {
	uuid string
	app  string
	mode string
}

func newAttach(d *Deps) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "attach [--app=APPNAME] [--mode=MODE] UUID",
		Short: "Attach to an app running within a rkt pod",
		Long: "Connects the standard streams with those of an app that was started with --stdin, --stdout or --stderr set to \"tty\" or \"stream\".\n\n" +
			"MODE is \"auto\" for all streams that the app offers, \"list\" to print them as JSON and return, " +
			"or a comma-separated list of \"stdin\", \"stdout\" and \"stderr\", or of \"tty\" (both directions), \"tty-in\" and \"tty-out\".",
		Annotations: rootOnly(),
		Args:        cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uuid = args[0]
			return runAttach(cmd.Context(), d, o)
		},
	}
	cmd.Flags().StringVar(&o.app, "app", "", "name of the app to attach to within the specified pod")
	cmd.Flags().StringVar(&o.mode, "mode", "auto", "attach mode")
	return cmd
}

func runAttach(ctx context.Context, d *Deps, o attachOptions) error {
	// Before the pod is looked for: it does not matter which.
	if _, err := stage0.ParseAttachMode(o.mode); err != nil {
		return fmt.Errorf("invalid attach mode: %w", err)
	}
	p, err := retrievePod(ctx, d, o.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	return stage0.Attach(ctx, p, stage0.AttachConfig{Env: env, App: o.app, Mode: o.mode, Stdin: os.Stdin})
}
