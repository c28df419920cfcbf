// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/stage0"
)

const (
	defaultGracePeriod      = 30 * time.Minute
	defaultExpirePrepared   = 24 * time.Hour
	defaultImageGracePeriod = 24 * time.Hour
)

type gcOptions struct {
	gracePeriod    time.Duration
	expirePrepared time.Duration
	markOnly       bool
}

func newGC(d *Deps) *cobra.Command {
	var o gcOptions
	cmd := &cobra.Command{
		Use:         "gc",
		Short:       "Garbage collect rkt pods no longer in use",
		Long:        "Marks exited pods and deletes those marked longer than the grace period ago. Use --grace-period=0s to effectively disable the grace period.",
		Annotations: rootOnly(),
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return runGC(cmd.Context(), d, o) },
	}
	cmd.Flags().DurationVar(&o.gracePeriod, "grace-period", defaultGracePeriod, "duration to wait before discarding inactive pods from garbage")
	cmd.Flags().DurationVar(&o.expirePrepared, "expire-prepared", defaultExpirePrepared, "duration to wait before expiring prepared pods")
	cmd.Flags().BoolVar(&o.markOnly, "mark-only", false, "move to the garbage, but do not delete from it")
	return cmd
}

func runGC(ctx context.Context, d *Deps, o gcOptions) error {
	c, err := d.collectConfig(ctx)
	if err != nil {
		return err
	}
	return stage0.GC(ctx, stage0.GCConfig{
		CollectConfig:  c,
		GracePeriod:    o.gracePeriod,
		ExpirePrepared: o.expirePrepared,
		MarkOnly:       o.markOnly,
		Now:            d.Now,
	})
}
