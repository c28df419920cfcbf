// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/metadata"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
)

type runPreparedOptions struct {
	uuid    string
	runtime runtimeOptions
}

func newRunPrepared(d *Deps) *cobra.Command {
	var o runPreparedOptions
	cmd := &cobra.Command{
		Use:         "run-prepared [flags] UUID",
		Short:       "Run a prepared application pod in rkt",
		Long:        "UUID must have been acquired via \"rkt prepare\".",
		Annotations: map[string]string{needsRoot: "true", exitStatuses: runStatuses},
		Args:        cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uuid = args[0]
			return runRunPrepared(cmd.Context(), d, o)
		},
	}
	o.runtime.bind(cmd.Flags())
	return cmd
}

// notPrepared is the refusal of pods that were started, or never finished.
func notPrepared(p *pod.Pod) error {
	err := fmt.Errorf("pod %q is not prepared", p.UUID())
	if p.State() == pod.Running || p.State().IsAfterRun() {
		return hint.With(err, "a pod runs once; prepare another one")
	}
	return err
}

func runRunPrepared(ctx context.Context, d *Deps, o runPreparedOptions) error {
	if err := firstError(o.runtime.checkMDS, o.runtime.checkValues); err != nil {
		return err
	}
	p, err := retrievePod(ctx, d, o.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if p.State() != pod.Prepared {
		return notPrepared(p)
	}
	if o.runtime.interactive {
		if err := checkOneApp(p); err != nil {
			return err
		}
	}
	if o.runtime.register { // before the pod leaves its state
		if err := metadata.NewClient(d.MDS).Reachable(ctx); err != nil {
			return err
		}
	}
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	return becomeStage1(ctx, d, p, o.runtime, env)
}
