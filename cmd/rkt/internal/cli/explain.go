// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/stage0"
)

type explainOptions struct {
	uuid     string
	uuidFile string
	format   formatFlag
}

const explainForms = "For the pod and each of its apps it prints every setting with its value and, in brackets, who has decided it: " +
	"the image, a flag or the pod manifest, rkt's default, --insecure-options, the stage1 flavor, the host.\n" +
	"The form of --format=json is described in docs/explain.md."

func newExplain(d *Deps) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [flags] UUID",
		Short: "Explain what holds the apps of a pod, and why",
		Long: "Prints what a pod was started with, and where what the kernel says of a running app differs from that. " +
			"Of a prepared pod it prints what it will be started with.\n" + explainForms +
			"\n\n\"rkt explain run\" takes the arguments of \"rkt run\" and explains the pod without making it.",
		Annotations: rootOnly(),
		Args:        oneUUIDArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.uuid = args[0]
			}
			return runExplain(cmd.Context(), d, o)
		},
	}
	uuidFileFlag(cmd, &o.uuidFile)
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	cmd.AddCommand(newExplainRun(d))
	return cmd
}

func runExplain(ctx context.Context, d *Deps, o explainOptions) error {
	p, err := retrievePodOrFile(ctx, d, o.uuid, o.uuidFile)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	c, err := d.explainConfig(ctx, false)
	if err != nil {
		return err
	}
	r, err := stage0.ExplainPod(ctx, p, c)
	if err != nil {
		return fmt.Errorf("cannot explain pod %q: %w", p.UUID(), err)
	}
	return d.printExplanation(r, o.format)
}

func (d *Deps) printExplanation(r *explain.Report, format formatFlag) error {
	if format != formatTable {
		return d.printJSON(r, format == formatJSONPretty)
	}
	if err := r.Text(d.Stdout); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
