// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// NoControllerError says that the host cannot enforce a limit. Cause is set
// where the controller is there, but not this part of it.
type NoControllerError struct {
	Controller string
	Cause      error
}

func (e *NoControllerError) Error() string {
	var shared *SharedError
	var withheld *WithheldError
	switch {
	case errors.As(e.Cause, &shared), errors.As(e.Cause, &withheld):
		return fmt.Sprintf("the pod cannot have the %s cgroup controller: %v", e.Controller, e.Cause)
	case e.Cause != nil:
		return fmt.Sprintf("the kernel's %s cgroup controller cannot do that: %v", e.Controller, e.Cause)
	}
	return fmt.Sprintf("the kernel has no %s cgroup controller", e.Controller)
}

func (e *NoControllerError) Unwrap() error { return e.Cause }

// Group is the pod's directory in each hierarchy that it needs.
type Group struct {
	dirs []dir
	fs   filesystem
}

type dir struct {
	path        string
	relative    string // below the mount, for the subcgroup file
	v2          bool
	controllers []string
}

// Make makes the group called name for the controllers. Before each mkdir it
// calls record with the paths of all directories made so far and the next one.
func (h *Host) Make(name string, controllers []string, record func(paths []string) error) (*Group, error) {
	g := &Group{fs: h.fs}
	for _, c := range controllers {
		hi := h.find(c)
		if hi == nil {
			return nil, &NoControllerError{Controller: c}
		}
		if i := slices.IndexFunc(g.dirs, func(d dir) bool { return strings.HasPrefix(d.path, hi.mount+"/") }); i >= 0 {
			g.dirs[i].controllers = append(g.dirs[i].controllers, c)
			continue
		}
		g.dirs = append(g.dirs, dir{path: path.Join(hi.own, name), v2: hi.v2, controllers: []string{c}})
	}
	var known []string
	for i := range g.dirs {
		d := &g.dirs[i]
		hi := h.find(d.controllers[0])
		rec := func(p string) error {
			if !slices.Contains(known, p) {
				known = append(known, p)
			}
			return record(known)
		}
		var err error
		if hi.v2 {
			err = h.makeUnified(hi, d, name, rec)
		} else {
			err = h.makeOne(d.path, rec)
		}
		if err != nil {
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
		d.relative = strings.TrimPrefix(d.path, hi.mount+"/")
	}
	return g, nil
}

func (h *Host) makeOne(p string, rec func(string) error) error {
	if err := rec(p); err != nil {
		return err
	}
	if err := h.fs.mkdir(p); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Set writes the limits.
func (g *Group) Set(l Limits) error {
	for _, d := range g.dirs {
		for _, c := range d.controllers {
			if err := l.apply(g.fs, d.path, c, d.v2); err != nil {
				return err
			}
		}
	}
	return nil
}

// Paths are the directories of the group.
func (g *Group) Paths() []string {
	var out []string
	for _, d := range g.dirs {
		out = append(out, d.path)
	}
	return out
}

// Relative is the path of the group below its hierarchy, as the subcgroup
// file holds it: without leading slash, of the first hierarchy.
func (g *Group) Relative() string {
	if len(g.dirs) == 0 {
		return ""
	}
	return g.dirs[0].relative
}

// Join moves the calling process into the directories.
func Join(paths []string) error { return joinAll(paths, osFS{}) }

func joinAll(paths []string, fs filesystem) error {
	for _, p := range paths {
		if err := fs.write(path.Join(p, "cgroup.procs"), "0"); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}
