// SPDX-License-Identifier: Apache-2.0

package approot

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/program"
)

// Isolate gives the calling thread a mount namespace of its own. It does so
// even though stage0 has made one: there is no sure way to tell, and taking
// the host's for one of the pod's would mount on the host, where whoever
// removes the pod directory then removes the host's files.
func Isolate() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts from the host: %w", err)
	}
	return nil
}

// Source is a detached copy of a mount, ready to be put somewhere.
type Source struct {
	f    *os.File
	name string
	dir  bool
	host bool // the host's own /dev, /proc or /sys
}

// Clone copies the mount at a path of the host, links followed, with the
// mounts below it if recursive.
func Clone(path string, recursive bool) (*Source, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, &MissingError{path: path, err: err}
	}
	if err != nil {
		return nil, &os.PathError{Op: "copy mount", Path: path, Err: err}
	}
	return newSource(fd, path)
}

// Tmpfs makes an empty file system in memory with the given mode.
func Tmpfs(mode string) (*Source, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("tmpfs: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	if err := errors.Join(unix.FsconfigSetString(fs, "mode", mode), unix.FsconfigSetString(fs, "source", "tmpfs")); err != nil {
		return nil, fmt.Errorf("tmpfs: %w", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("tmpfs: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("tmpfs: %w", err)
	}
	return newSource(fd, "tmpfs")
}

func newSource(fd int, name string) (*Source, error) {
	s := &Source{f: os.NewFile(uintptr(fd), name), name: name}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "stat", Path: name, Err: err}, s.Close())
	}
	s.dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	return s, nil
}

// MissingError is a source that is not there; its text is part of the contract.
type MissingError struct {
	path string
	err  error
}

func (e *MissingError) Error() string {
	return "Failed to stat " + e.path + ": " + program.Strerror(e.err)
}

func (e *MissingError) Unwrap() error { return e.err }

// Close drops the copy if it was not put anywhere.
func (s *Source) Close() error { return s.f.Close() }

// ReadOnly makes the copy read-only, with everything below it, in one step.
func (s *Source) ReadOnly() error {
	err := unix.MountSetattr(int(s.f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", s.name, err)
	}
	return nil
}

// Put mounts the copy at the target inside the tree. The target is made if
// there is nothing, and has to be a directory exactly if the source is one.
// Nothing is made in what is the host's own.
func (t *Tree) Put(s *Source, target string) error {
	resolved, err := t.root.Resolve(target)
	if err != nil {
		return fmt.Errorf("mount %s: %w", s.name, err)
	}
	if resolved == "/" {
		return fmt.Errorf("can't mount %q: %q is the root of the app", s.name, target)
	}
	if t.hosts(resolved) {
		if _, err := t.root.Lstat(resolved); errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("can't mount %q: there is no %q, and the fly flavor makes nothing below the host's /dev, /proc and /sys", s.name, resolved)
		}
	}
	at, err := t.root.TargetAt(resolved, s.dir) // what was checked, whatever lies there by now
	if err != nil {
		return fmt.Errorf("mount %s: %w", s.name, err)
	}
	defer func() { _ = at.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(at.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: target, Err: err}
	}
	switch isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR; {
	case s.dir && !isDir:
		return fmt.Errorf("can't mount because %q is a directory while %q is not", s.name, target)
	case !s.dir && isDir:
		return fmt.Errorf("can't mount because %q is a directory while %q is not", target, s.name)
	}
	err = unix.MoveMount(int(s.f.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("mount %s at %s: %w", s.name, target, err)
	}
	t.points = append(t.points, point{resolved, s.host})
	return nil
}

// bind is Clone, perhaps ReadOnly, and Put.
func (t *Tree) bind(source, target string, recursive, readOnly bool) error {
	s, err := Clone(source, recursive)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if readOnly {
		if err := s.ReadOnly(); err != nil {
			return err
		}
	}
	return t.Put(s, target)
}
