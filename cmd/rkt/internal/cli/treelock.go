// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/datadir"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// lockTrees takes the prepare lock: shared to render and use trees, exclusive
// to remove those that nobody refers to. Only root renders; for others the
// lock is nil, which can be closed all the same.
func (d *Deps) lockTrees(ctx context.Context, m lock.Mode) (*lock.Lock, error) {
	dir, err := d.DataDir()
	if err != nil {
		return nil, err
	}
	if d.EUID() != 0 && m == lock.Shared {
		return nil, nil
	}
	locks := filepath.Join(dir, poddir.Locks)
	if err := datadir.Make(dir, poddir.Locks); err != nil {
		return nil, err
	}
	l, err := lock.Key(ctx, locks, poddir.PrepareLock, m)
	if err != nil {
		return nil, fmt.Errorf("take prepare lock: %w", err)
	}
	return l, nil
}
