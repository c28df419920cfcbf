// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SharedError says why a cgroup of v2 cannot hand controllers down: other
// processes are in it, and it is not left because its own limits would be lost.
type SharedError struct{ Dir string }

func (e *SharedError) Error() string {
	return "other processes are in the cgroup " + e.Dir + ", whose own limits bind the pod"
}

// WithheldError says that a cgroup of v2 has not got a controller that the host
// has: whoever made it has not handed it down.
type WithheldError struct{ Dir string }

func (e *WithheldError) Error() string {
	return "the cgroup " + e.Dir + " has not got it (a unit of systemd has, with Delegate=yes)"
}

// makeUnified makes the directory called name at the nearest place where it can
// have the controllers (see the package comment).
func (h *Host) makeUnified(hi *hierarchy, d *dir, name string, rec func(string) error) error {
	d.path = path.Join(hi.own, name)
	if err := h.makeOne(d.path, rec); err != nil {
		return err
	}
	h.handDownTo(hi, d.controllers)
	_, err := h.enable(hi.own, d.controllers)
	if errors.Is(err, unix.EBUSY) && h.alone(hi.own, nil) {
		if err = h.fs.write(path.Join(d.path, "cgroup.procs"), "0"); err == nil {
			_, err = h.enable(hi.own, d.controllers)
		}
	}
	if errors.Is(err, unix.EBUSY) {
		_ = h.fs.rmdir(d.path) // if it stays, gc knows it
		err = h.makeAbove(hi, d, name, rec)
	}
	if err != nil {
		return err
	}
	has, err := h.fs.read(path.Join(d.path, "cgroup.controllers"))
	for _, c := range d.controllers {
		if err == nil && !slices.Contains(strings.Fields(has), c) {
			err = &NoControllerError{Controller: c, Cause: &WithheldError{Dir: path.Dir(d.path)}}
		}
	}
	return err
}

// handDownTo hands controllers down from the root to the calling process's
// cgroup, as far as that can be done. Where systemd runs the host that is for
// systemd to do.
func (h *Host) handDownTo(hi *hierarchy, controllers []string) {
	if h.managed {
		return
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(hi.own, hi.mount), "/")
	for base := hi.mount; rel != ""; {
		if _, err := h.enable(base, controllers); err != nil {
			return
		}
		first, rest, _ := strings.Cut(rel, "/")
		base, rel = path.Join(base, first), rest
	}
}

// makeAbove makes the directory in the nearest cgroup above the calling
// process's that can hand the controllers down. A cgroup that has limits is not
// left: they would bind no more.
func (h *Host) makeAbove(hi *hierarchy, d *dir, name string, rec func(string) error) error {
	for base := hi.own; ; {
		if h.limited(base) || base == hi.mount {
			return &SharedError{Dir: base}
		}
		base = path.Dir(base)
		d.path = path.Join(base, name)
		if err := h.makeOne(d.path, rec); err != nil {
			return err
		}
		_, err := h.enable(base, d.controllers)
		if err == nil {
			return nil
		}
		_ = h.fs.rmdir(d.path) // if it stays, gc knows it
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
}

// enable hands controllers, those of them that a cgroup has, to its children, and
// tells which it had not handed down before. All in one write: cpu and pids
// alone may be handed down by a cgroup with processes, which cannot have children
// with processes any more then (cgroups(7), "thread mode").
func (h *Host) enable(base string, controllers []string) (added []string, err error) {
	has, err := h.fs.read(path.Join(base, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	file := path.Join(base, "cgroup.subtree_control")
	given, err := h.fs.read(file)
	if err != nil {
		return nil, err
	}
	for _, c := range controllers {
		if slices.Contains(strings.Fields(has), c) && !slices.Contains(strings.Fields(given), c) {
			added = append(added, c)
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	if busy, err := h.occupied(base); err != nil || busy {
		return nil, errors.Join(err, fmt.Errorf("cgroup %s: %w", base, unix.EBUSY))
	}
	return added, h.fs.write(file, "+"+strings.Join(added, " +"))
}

// disable takes controllers back from the children of a cgroup, and before
// that from the children of these.
func (h *Host) disable(base string, controllers []string) error {
	children, err := h.fs.children(base)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := h.disable(c, controllers); err != nil {
			return err
		}
	}
	return h.fs.write(path.Join(base, "cgroup.subtree_control"), "-"+strings.Join(controllers, " -"))
}

// occupied tells whether processes keep a cgroup from handing controllers down.
// The root, which has no type, may have both.
func (h *Host) occupied(base string) (bool, error) {
	if _, err := h.fs.read(path.Join(base, "cgroup.type")); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	procs, err := h.fs.read(path.Join(base, "cgroup.procs"))
	return procs != "", err
}

// alone tells whether this process and its mates are the only ones of a cgroup.
func (h *Host) alone(base string, mates []int) bool {
	procs, err := h.fs.read(path.Join(base, "cgroup.procs"))
	return err == nil && !slices.ContainsFunc(strings.Fields(procs), func(text string) bool {
		pid, err := strconv.Atoi(text)
		return err != nil || pid != os.Getpid() && !slices.Contains(mates, pid)
	})
}

// limited tells whether a cgroup of v2 holds its processes to something that
// those of its parent are not held to. Weights are no limits.
func (h *Host) limited(dir string) bool {
	for _, file := range []string{
		"memory.max", "memory.high", "memory.swap.max", "memory.zswap.max", "pids.max", "cpu.max", "io.max", "cpuset.cpus", "cpuset.mems",
	} {
		text, err := h.fs.read(path.Join(dir, file))
		switch {
		case errors.Is(err, fs.ErrNotExist): // the root has none, nor has a kernel without it
		case err != nil:
			return true
		case text != "" && text != "max" && !strings.HasPrefix(text, "max "):
			return true
		}
	}
	return false
}

// moveAll moves this process and its mates. One that has ended needs no move.
func (h *Host) moveAll(dir string, mates []int) error {
	for _, pid := range append(slices.Clone(mates), 0) { // 0 is the writer
		err := h.fs.write(path.Join(dir, "cgroup.procs"), strconv.Itoa(pid))
		if err != nil && (pid == 0 || !errors.Is(err, unix.ESRCH)) {
			return fmt.Errorf("move process %d: %w", pid, err)
		}
	}
	return nil
}
