// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/appargs"
	"github.com/rkt/rkt/v2/stage0"
)

type appAddOptions struct {
	images  appargs.Parser
	argsErr error // what is wrong after the image
}

func newAppAdd(d *Deps) *cobra.Command {
	o := appAddOptions{images: appargs.Parser{Words: 1}}
	cmd := &cobra.Command{
		Use:   "add UUID IMAGEID [app flags] [-- args...]",
		Short: "Add an app to a pod",
		Long: "IMAGEID is the ID or the name of an image in the local store; nothing is fetched. The app is not started.\n\n" +
			"Arguments after \"--\" take the place of those of the image.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runAppAdd(cmd.Context(), d, o) },
	}
	o.images.BindAdd(cmd.Flags())
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		o.argsErr = o.images.Parse(cmd.Flags(), args)
		return flagFault(o.argsErr)
	}
	return cmd
}

func (o *appAddOptions) check() error {
	switch {
	case len(o.images.Before) == 0 || len(o.images.Apps) == 0 && o.argsErr == nil:
		return errors.New("must provide the pod UUID and an IMAGEID")
	case o.argsErr != nil:
		return fmt.Errorf("error parsing app image arguments: %w", o.argsErr)
	case len(o.images.Apps) > 1:
		return errors.New("must give only one app")
	}
	return nil
}

func runAppAdd(ctx context.Context, d *Deps, o appAddOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	p, err := retrievePod(ctx, d, o.images.Before[0])
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	images, err := d.Images(ctx)
	if err != nil {
		return err
	}
	app := o.images.Apps[0]
	id, err := findImage(images, app.Image)
	if err != nil {
		return err
	}
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	return stage0.AddApp(ctx, p, stage0.AddAppConfig{Env: env, App: newStage0App(id, app), Mounts: o.images.Mounts})
}
