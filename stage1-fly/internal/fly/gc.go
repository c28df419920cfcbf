// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"context"

	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

// gc removes what a pod that has ended leaves outside its directory: its
// cgroups. It works on a pod that died at any point and may be repeated.
func gc(argv []string) error {
	g, err := entrypoint.ParseGC(argv)
	if err != nil {
		return err
	}
	paths, err := recordedCgroups()
	if err != nil || len(paths) == 0 {
		return err
	}
	// The lock is free, so what is left in there is a stray of the app's.
	if err := killCgroups(g.UUID); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cgroupPatience)
	defer cancel()
	return cgroup.Remove(ctx, paths, g.UUID.Scope())
}
