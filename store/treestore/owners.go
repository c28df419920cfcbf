// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/layer"
)

// CheckOwners returns an error if a user or group that owns something in a tree
// is not below count: a user namespace of that size has no such ID.
func (t *Store) CheckOwners(ctx context.Context, tree Tree, count uint32) error {
	sources, err := t.sources(tree.ID)
	if err != nil {
		return err
	}
	return layer.Merge(ctx, sources, func(m *layer.Merged) error {
		if m.UID >= count || m.GID >= count {
			return fmt.Errorf("%q: uid %d or gid %d are out of range %d", m.Path, m.UID, m.GID, count)
		}
		return nil
	})
}
