// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/stage0"
)

type stopOptions struct {
	uuids    []string
	uuidFile string
	force    bool
	wait     waitFlag
	timeout  time.Duration
}

func newStop(d *Deps) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop [flags] UUID...",
		Short: "Stop a pod",
		Long: "Asks the pod's stage1 to stop it and returns once the request was delivered.\n" +
			"With --wait it returns when the pod has ended.",
		Annotations: map[string]string{exitStatuses: "0\tsuccess\n1\tthe file of --uuid-file cannot be read\n254\tsome pod was not stopped"},
		Args:        someUUIDArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uuids = args
			return runStop(cmd.Context(), d, o)
		},
	}
	uuidFileFlag(cmd, &o.uuidFile)
	cmd.Flags().BoolVar(&o.force, "force", false, "forced stopping")
	o.wait.bind(cmd.Flags(), "wait", "wait until the pods have ended; a duration limits the wait")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "wait, but at most this long; 0 is as --wait says")
	return cmd
}

func runStop(ctx context.Context, d *Deps, o stopOptions) error {
	if o.uuidFile != "" {
		uuid, err := readUUIDFile(o.uuidFile)
		if err != nil {
			return &statusError{statusLegacy, err}
		}
		o.uuids = []string{uuid}
	}
	if o.timeout > 0 {
		o.wait = waitFlag{on: true, limit: o.timeout}
	}
	var stopped []*pod.Pod
	failed := 0
	for _, uuid := range o.uuids {
		p, err := stopOne(ctx, d, o, uuid)
		if err != nil {
			d.printError(err)
			failed++
			continue
		}
		stopped = append(stopped, p)
		defer func() { _ = p.Close() }()
	}
	failed += waitStopped(ctx, d, o.wait, stopped)
	if failed > 0 {
		return fmt.Errorf("failed to stop %d pod(s)", failed)
	}
	return nil
}

// stopOne asks for the end of one pod. The caller closes the pod.
func stopOne(ctx context.Context, d *Deps, o stopOptions, uuid string) (*pod.Pod, error) {
	p, err := openPod(ctx, d, uuid)
	if err != nil {
		return nil, fmt.Errorf("cannot get pod: %w", err)
	}
	env, err := d.stage0Env(ctx)
	if err == nil {
		err = stage0.Stop(ctx, p, stage0.StopConfig{Env: env, Force: o.force})
	}
	switch {
	case errors.Is(err, stage0.ErrAlreadyStopped):
		err = d.printf("pod %q is already stopped", p.UUID())
	case err == nil:
		err = d.printf("%q", p.UUID())
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// waitStopped waits for pods that were asked to stop and returns how many did
// not end in time.
func waitStopped(ctx context.Context, d *Deps, wait waitFlag, pods []*pod.Pod) int {
	failed := 0
	deadline := d.Now().Add(wait.limit)
	for _, p := range pods {
		left := wait
		if wait.limit > 0 {
			left.limit = max(deadline.Sub(d.Now()), time.Nanosecond) // 0 would be forever
		}
		if err := waitFor(ctx, left, p.WaitFinished); err != nil {
			d.errorf("error waiting for pod %q to finish: %s", p.UUID(), oneLine(err.Error()))
			failed++
		}
	}
	return failed
}
