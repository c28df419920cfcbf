// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

// byName looks in the store whatever the policy is: there is nowhere else to
// look before discovery exists, and an image that is there is better than none.
func (r *run) byName(p distribution.Appc, text string) (appc.ImageID, error) {
	labels, err := hostLabels(p)
	if err != nil {
		return "", err
	}
	id, err := r.Store.Find(p.Name, labels)
	if err == nil {
		r.debug("using image from local store for image name %s", text)
		return id, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return "", fmt.Errorf("image name %q: %w", text, err)
	}
	if r.o.Policy == Never {
		return "", fmt.Errorf("unable to fetch image from image name %q: %s", text, tail)
	}
	r.debug("searching for app image %s", p.Name)
	return "", fmt.Errorf("unable to fetch image from image name %q: it is not in the store, "+
		"and this version of rkt has no image discovery (give a URL, file or registry reference instead)", text)
}

// hostLabels adds the host's os and arch where the name does not say them.
func hostLabels(p distribution.Appc) (appc.Labels, error) {
	labels := slices.Clone(p.Labels)
	hostOS, hostArch := appc.HostLabels()
	os, ok := labels.Get("os")
	if !ok {
		os = hostOS
		labels = append(labels, appc.Label{Name: "os", Value: os})
	}
	arch, ok := labels.Get("arch")
	if !ok {
		arch = hostArch
		labels = append(labels, appc.Label{Name: "arch", Value: arch})
	}
	if err := appc.RunnableOSArch(os, arch); err != nil {
		return nil, fmt.Errorf("invalid Appc distribution %q: %w", p.CIMD(), err)
	}
	return labels, nil
}

// graph is the dependencies seen so far.
type graph struct {
	children map[appc.ImageID][]appc.ImageID
	names    map[appc.ImageID]string
}

// dependencies makes sure that all images below id are there, breadth first.
func (r *run) dependencies(ctx context.Context, top appc.ImageID) error {
	g := graph{children: map[appc.ImageID][]appc.ImageID{}, names: map[appc.ImageID]string{}}
	for queue := []appc.ImageID{top}; len(queue) > 0; queue = queue[1:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := queue[0]
		if _, seen := g.children[id]; seen {
			continue
		}
		m, err := r.Store.Manifest(id)
		if err != nil {
			return fmt.Errorf("image manifest of %s: %w", id, err)
		}
		g.names[id] = m.Name.String()
		g.children[id] = []appc.ImageID{}
		for _, d := range m.Dependencies {
			child, err := r.dependency(d)
			if err != nil {
				return fmt.Errorf("dependency of %s: %w", m.Name, err)
			}
			g.children[id] = append(g.children[id], child)
		}
		queue = append(queue, g.children[id]...)
		if len(g.children) > maxDependency {
			return fmt.Errorf("image has more than %d dependencies", maxDependency)
		}
	}
	return g.checkCycle(top, map[appc.ImageID]int{})
}

// dependency finds one dependency and holds it to what the image says of it.
func (r *run) dependency(d appc.Dependency) (appc.ImageID, error) {
	p := distribution.Appc{Name: d.ImageName, Labels: d.Labels}
	if d.ImageID != nil {
		if id, err := r.Store.Resolve(d.ImageID.String()); err == nil {
			r.debug("using image from local store for image name %s", p)
			return id, r.checkDependency(d, id)
		}
	}
	id, err := r.byName(p, p.String())
	if err != nil {
		return "", err
	}
	return id, r.checkDependency(d, id)
}

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

// checkCycle walks depth first; the graph is small enough to recurse.
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
