// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/stage0"
)

type explainRunOptions struct {
	run    runOptions
	format formatFlag
}

func newExplainRun(d *Deps) *cobra.Command {
	var o explainRunOptions
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [app flags] [-- args...] [--- IMAGE...]",
		Short: "Explain what would hold the apps of a pod, and make none",
		Long: "Takes the arguments of \"rkt run\", fetches images that are not in the store as that does, and prints what the apps would be held to. " +
			"No pod is made.\n" + explainForms + "\n\n" +
			"If the pod would not start on this host, the reasons come first; that is no failure of this command.",
		Annotations: rootOnly(),
		RunE:        func(cmd *cobra.Command, _ []string) error { return runExplainRun(cmd.Context(), d, o) },
	}
	o.run.pod.bind(cmd)
	o.run.runtime.bind(cmd.Flags())
	// Not written: there is no pod. A command line of "rkt run" is to be taken as it is.
	cmd.Flags().StringVar(&o.run.pod.uuidFileSave, "uuid-file-save", "", "accepted and ignored: no pod is made")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

func runExplainRun(ctx context.Context, d *Deps, o explainRunOptions) error {
	if err := o.run.check(); err != nil {
		return err
	}
	c, err := o.run.pod.prepareConfig(ctx, d)
	if err != nil {
		return err
	}
	if err := o.run.checkManifestApps(c.PodManifest); err != nil {
		return err
	}
	r, err := o.run.runtime.runConfig(d, c.Env)
	if err != nil {
		return err
	}
	e, err := d.explainConfig(ctx, true)
	if err != nil {
		return err
	}
	report, err := stage0.ExplainRun(ctx, c, r, e)
	if err != nil {
		return err
	}
	return d.printExplanation(report, o.format)
}
