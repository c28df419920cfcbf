// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/fetch"
)

// renderDependencies fetches what the image is on top of, and returns the
// directories, top first.
func (c *call) renderDependencies(ctx context.Context, b *build, m *manifest, f fetchFlags) (lowers []string, err error) {
	if len(m.Dependencies) == 0 {
		return nil, nil
	}
	s, err := c.openStores(ctx, b.path(depstoreDir), f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, d := range slices.Backward(m.Dependencies) {
		key, err := s.dependency(ctx, d)
		if err != nil {
			return nil, err
		}
		c.debugf("rendering dependency %s", d.ImageName)
		tree, err := s.trees.Render(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("render dependency %s: %w", d.ImageName, err)
		}
		lowers = append(lowers, tree.Lowers...)
	}
	return lowers, nil
}

// dependency brings a dependency into the store and checks that it is the one
// that is meant.
func (s *stores) dependency(ctx context.Context, d appc.Dependency) (appc.ImageID, error) {
	point := distribution.Appc{Name: d.ImageName, Labels: d.Labels}
	key, err := s.fetcher.Fetch(ctx, point.CIMD(), fetch.ImageOptions{Policy: fetch.New})
	if err != nil {
		return "", fmt.Errorf("dependency %q doesn't appear to exist: %w", d.ImageName, explainFetch(err))
	}
	rec, err := s.images.Record(key)
	if err != nil {
		return "", err
	}
	if d.ImageID != nil && !rec.ID.HasPrefix(*d.ImageID) {
		return "", fmt.Errorf("dependency %s doesn't match hash", d.ImageName)
	}
	if d.Size != 0 && uint64(rec.Size) != d.Size {
		return "", fmt.Errorf("dependency %s has %d bytes, not %d", d.ImageName, rec.Size, d.Size)
	}
	return key, nil
}
