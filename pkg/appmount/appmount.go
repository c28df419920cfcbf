// SPDX-License-Identifier: Apache-2.0

package appmount

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Request is what decides the mounts of one app.
type Request struct {
	App         appc.Name
	Mounts      []appc.Mount      // of the runtime app, the app's own before global ones
	MountPoints []appc.MountPoint // of the app section
	Volumes     []appc.Volume     // of the pod
	// Recursive is what a host volume is that does not say: a flavor that
	// shares the host's mount table does not want copies of all of it.
	Recursive bool
	// CopyUp fills implicit volumes with what the image has at the target.
	CopyUp bool
}

// Kind says where the content of a mount is.
type Kind int

// The kinds.
const (
	Host  Kind = iota // Source is a path of the host
	Empty             // a directory of the pod, named as the volume
)

// Mount is one entry of the plan.
type Mount struct {
	Kind      Kind
	Volume    appc.Name
	Source    string // host path; empty for Kind Empty
	Target    string // absolute, not cleaned
	ReadOnly  bool
	Recursive bool

	// Of empty volumes.
	Mode     fs.FileMode
	UID, GID int
	// CopyUp asks for the image's content, mode and owner at the target.
	CopyUp bool
}

// Plan is the answer: mounts in order, and lines for the user.
type Plan struct {
	Mounts   []Mount
	Warnings []string
}

// MissingVolumeError says that a mount names a volume the pod has not.
type MissingVolumeError struct{ Volume appc.Name }

func (e *MissingVolumeError) Error() string { return fmt.Sprintf("could not find volume %s", e.Volume) }

// New makes the plan of an app.
func New(q Request) (Plan, error) {
	b := builder{q: q, taken: map[string]bool{}}
	for _, m := range q.Mounts {
		if err := b.mount(m); err != nil {
			return Plan{}, err
		}
	}
	for _, p := range q.MountPoints {
		if err := b.mountPoint(p); err != nil {
			return Plan{}, err
		}
	}
	return b.plan, nil
}

type builder struct {
	q     Request
	taken map[string]bool // cleaned targets
	plan  Plan
}

func (b *builder) mount(m appc.Mount) error {
	if !b.take(m.Path) {
		return nil
	}
	v := m.AppVolume
	if v == nil {
		v = b.volume(m.Volume)
	}
	if v == nil {
		return &MissingVolumeError{Volume: m.Volume}
	}
	return b.add(*v, m.Volume, m.Path, false)
}

func (b *builder) mountPoint(p appc.MountPoint) error {
	if !b.take(p.Path) {
		return nil
	}
	if v := b.volume(p.Name); v != nil {
		return b.add(*v, p.Name, p.Path, false)
	}
	b.plan.Warnings = append(b.plan.Warnings, fmt.Sprintf("warning: no volume specified for mount point %q, "+
		`implicitly creating an "empty" volume. This volume will be removed when the pod is garbage-collected.`, p.Name))
	implicit := appc.Volume{Name: b.q.App + "-" + p.Name, Kind: appc.EmptyVolume}
	return b.add(implicit, p.Name, p.Path, b.q.CopyUp)
}

// take marks a target as used; it is false for one that is used already.
func (b *builder) take(target string) bool {
	clean := path.Clean("/" + target)
	if b.taken[clean] {
		return false
	}
	b.taken[clean] = true
	return true
}

// add appends a mount of v; name is what a mount point would be called.
func (b *builder) add(v appc.Volume, name appc.Name, target string, copyUp bool) error {
	m := Mount{Volume: v.Name, Target: rooted(target), ReadOnly: b.readOnly(v, name)}
	switch v.Kind {
	case appc.HostVolume:
		m.Kind, m.Source, m.Recursive = Host, v.Source, b.q.Recursive
		if v.Recursive != nil {
			m.Recursive = *v.Recursive
		}
	case appc.EmptyVolume:
		mode, err := v.Perm()
		if err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
		m.Kind, m.Mode, m.CopyUp = Empty, mode, copyUp
		m.UID, m.GID = v.Owner()
	default:
		return fmt.Errorf("volume %s has unknown kind %q", v.Name, v.Kind)
	}
	b.plan.Mounts = append(b.plan.Mounts, m)
	return nil
}

// readOnly: the volume decides, else the mount point of that name, else no.
func (b *builder) readOnly(v appc.Volume, name appc.Name) bool {
	if v.ReadOnly != nil {
		return *v.ReadOnly
	}
	for _, p := range b.q.MountPoints {
		if p.Name == name {
			return p.ReadOnly
		}
	}
	return false
}

func (b *builder) volume(name appc.Name) *appc.Volume {
	for i := range b.q.Volumes {
		if b.q.Volumes[i].Name == name {
			return &b.q.Volumes[i]
		}
	}
	return nil
}

func rooted(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	return "/" + target
}

// Below tells whether a mount of the plan goes to dir or below it, as written.
func (p Plan) Below(dir string) bool {
	for _, m := range p.Mounts {
		t := path.Clean(m.Target)
		if t == dir || strings.HasPrefix(t, dir+"/") {
			return true
		}
	}
	return false
}
