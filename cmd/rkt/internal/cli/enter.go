// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/stage0"
)

type enterOptions struct {
	app  string
	uuid string
	cmd  []string
}

func newEnter(d *Deps) *cobra.Command {
	var o enterOptions
	cmd := &cobra.Command{
		Use:   "enter [--app=APPNAME] UUID [CMD [ARGS ...]]",
		Short: "Enter the namespaces of an app within a rkt pod",
		Long:  "By default the CMD is " + stage0.DefaultShell + ".",
		Annotations: map[string]string{
			needsRoot:    "true",
			exitStatuses: "254\tthe command could not be started\nother\tthat of the command",
		},
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uuid, o.cmd = args[0], args[1:]
			return runEnter(cmd.Context(), d, o)
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&o.app, "app", "", "name of the app to enter within the specified pod")
	return cmd
}

func runEnter(ctx context.Context, d *Deps, o enterOptions) error {
	p, err := retrievePod(ctx, d, o.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	if err := d.stopProfile(); err != nil { // exec would lose it
		return err
	}
	return stage0.Enter(ctx, p, stage0.EnterConfig{Env: env, App: o.app, Cmd: o.cmd, Environ: os.Environ()})
}
