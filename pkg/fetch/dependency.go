// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

// maxDependencyDepth is how far below an image its dependencies may be.
const maxDependencyDepth = 64

var errDependencies = fmt.Errorf("image has more than %d dependencies", maxDependency)

// graph is the dependencies seen so far.
type graph struct {
	children map[appc.ImageID][]appc.ImageID
	names    map[appc.ImageID]string
	byName   map[string]appc.ImageID // canonical image string: what it was resolved to
}

// dependencies makes sure that all images below id are there, breadth first.
func (r *run) dependencies(ctx context.Context, top appc.ImageID) error {
	return (&names{run: r, finder: r.finder()}).dependencies(ctx, top)
}

func (n *names) dependencies(ctx context.Context, top appc.ImageID) error {
	g := graph{children: map[appc.ImageID][]appc.ImageID{}, names: map[appc.ImageID]string{}, byName: map[string]appc.ImageID{}}
	level := []appc.ImageID{top}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxDependencyDepth {
			return fmt.Errorf("image has dependencies more than %d levels deep", maxDependencyDepth)
		}
		var next []appc.ImageID
		for _, id := range level {
			if _, seen := g.children[id]; seen {
				continue
			}
			if err := n.children(ctx, &g, id); err != nil {
				return err
			}
			next = append(next, g.children[id]...)
		}
		// A chain that comes back to itself would go on for ever.
		if err := g.checkCycle(top, map[appc.ImageID]int{}); err != nil {
			return err
		}
		level = next
	}
	return nil
}

// children brings the dependencies of one image.
func (n *names) children(ctx context.Context, g *graph, id appc.ImageID) error {
	m, err := n.Store.Manifest(id)
	if err != nil {
		return fmt.Errorf("image manifest of %s: %w", id, err)
	}
	g.names[id] = m.Name.String()
	g.children[id] = []appc.ImageID{}
	if max(len(m.Dependencies), len(g.children)) > maxDependency {
		return errDependencies
	}
	for _, d := range m.Dependencies {
		if err := ctx.Err(); err != nil {
			return err
		}
		child, err := n.dependency(ctx, g, d)
		if err == nil {
			err = n.checkDependency(d, child)
		}
		if err != nil {
			return fmt.Errorf("dependency of %s: %w", m.Name, err)
		}
		g.children[id] = append(g.children[id], child)
	}
	return nil
}

// dependency finds one dependency, by its ID if that is given and in the
// store, else by its name. A name is resolved once.
func (n *names) dependency(ctx context.Context, g *graph, d appc.Dependency) (appc.ImageID, error) {
	w := wanted{Appc: distribution.Appc{Name: d.ImageName, Labels: d.Labels}}
	w.text = w.String()
	if d.ImageID != nil {
		if id, err := n.Store.Resolve(d.ImageID.String()); err == nil {
			n.debug("using image from local store for image name %s", w.text)
			return id, nil
		}
		w.id = *d.ImageID
	}
	if id, ok := g.byName[w.text]; ok {
		return id, nil
	}
	if len(g.byName) == maxDependency {
		return "", errDependencies
	}
	id, err := n.image(ctx, w)
	if err != nil {
		return "", err
	}
	g.byName[w.text] = id
	return id, nil
}

// checkDependency holds an image to what the one that needs it says of it.
func (r *run) checkDependency(d appc.Dependency, id appc.ImageID) error {
	if d.ImageID != nil && !id.HasPrefix(*d.ImageID) {
		return fmt.Errorf("%s: image ID %s expected but %s found", d.ImageName, d.ImageID.Key(), id)
	}
	if d.Size == 0 {
		return nil
	}
	size, err := r.Store.Size(id)
	if err != nil {
		return fmt.Errorf("%s: %w", d.ImageName, err)
	}
	if uint64(size) != d.Size {
		return fmt.Errorf("%s: size %d expected but %d found", d.ImageName, d.Size, size)
	}
	return nil
}

const (
	onPath = 1
	over   = 2
)

// checkCycle walks depth first; the graph is not deep enough for recursion to matter.
func (g graph) checkCycle(id appc.ImageID, state map[appc.ImageID]int) error {
	state[id] = onPath
	for _, child := range g.children[id] {
		if state[child] == onPath {
			return fmt.Errorf("dependency cycle: %s depends on %s, which depends on it", g.names[id], g.names[child])
		}
		if state[child] == over {
			continue
		}
		if err := g.checkCycle(child, state); err != nil {
			return err
		}
	}
	state[id] = over
	return nil
}
