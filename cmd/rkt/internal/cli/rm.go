// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/metadata"
	"github.com/rkt/rkt/v2/stage0"
)

type rmOptions struct {
	uuids    []string
	uuidFile string
}

func newRm(d *Deps) *cobra.Command {
	var o rmOptions
	cmd := &cobra.Command{
		Use:         "rm UUID...",
		Short:       "Remove all files and resources associated with an exited pod",
		Long:        "Unlike gc, rm ignores grace periods.",
		Annotations: rootOnly(),
		Args:        someUUIDArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.uuids = args
			return runRm(cmd.Context(), d, o)
		},
	}
	uuidFileFlag(cmd, &o.uuidFile)
	return cmd
}

func runRm(ctx context.Context, d *Deps, o rmOptions) error {
	if o.uuidFile != "" {
		uuid, err := readUUIDFile(o.uuidFile)
		if err != nil {
			return err
		}
		o.uuids = []string{uuid}
	}
	failed := false
	for _, uuid := range o.uuids {
		if err := removePod(ctx, d, uuid); err != nil {
			d.printError(err)
			failed = true
		}
	}
	if failed {
		return errors.New("failed to remove one or more pods")
	}
	return nil
}

func removePod(ctx context.Context, d *Deps, uuid string) error {
	p, err := openPod(ctx, d, uuid)
	if err != nil {
		return fmt.Errorf("cannot get pod: %w", err)
	}
	defer func() { _ = p.Close() }()
	c, err := d.collectConfig(ctx)
	if err != nil {
		return err
	}
	if err := stage0.Remove(ctx, p, c); err != nil {
		return err
	}
	return d.printf("%q", p.UUID())
}

func (d *Deps) collectConfig(ctx context.Context) (stage0.CollectConfig, error) {
	env, err := d.stage0Env(ctx)
	return stage0.CollectConfig{
		Env: env, LocalConfig: d.Global.LocalConfig, Deregister: metadata.NewClient(d.MDS).Unregister,
	}, err
}
