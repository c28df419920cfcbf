// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/stage0"
)

type prepareOptions struct {
	pod   podOptions
	quiet bool
}

func newPrepare(d *Deps) *cobra.Command {
	var o prepareOptions
	cmd := &cobra.Command{
		Use:   "prepare [flags] IMAGE [app flags] [-- args...] [--- IMAGE...]",
		Short: "Prepare to run image(s) in a pod in rkt",
		Long: "IMAGE is as for \"rkt run\". The pod is made but not started; its UUID is printed.\n" +
			"Start it with \"rkt run-prepared UUID\".",
		Annotations: rootOnly(),
		RunE:        func(cmd *cobra.Command, _ []string) error { return runPrepare(cmd.Context(), d, o) },
	}
	o.pod.bind(cmd)
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "suppress superfluous output on stdout, print only the UUID on success")
	return cmd
}

func runPrepare(ctx context.Context, d *Deps, o prepareOptions) error {
	err := firstError(o.pod.checkPull, o.pod.checkPrivateUsers, o.pod.checkArgs, o.pod.checkPodManifest, o.pod.checkImages)
	if err != nil {
		return err
	}
	c, err := o.pod.prepareConfig(ctx, d)
	if err != nil {
		return err
	}
	if o.quiet {
		c.Stdout = io.Discard
	}
	p, err := stage0.Prepare(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if err := p.ToPrepared(); err != nil {
		return fmt.Errorf("cannot transition to prepared: %w", err)
	}
	return d.printf("%s", p.UUID())
}
