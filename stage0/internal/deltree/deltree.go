// SPDX-License-Identifier: Apache-2.0

// Package deltree deletes directory trees that hostile code has written.
//
// It works through descriptors only: symbolic links are removed, never
// followed, and no mount point is entered, so nothing outside the tree and
// nothing that is mounted inside it can be harmed. Trees of any depth are
// deleted with few descriptors.
package deltree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDepth is how many directories are open at once. What lies deeper is moved
// up first.
const maxDepth = 64

// Remove deletes path and all below it. A path that does not exist is no error.
// What is mounted inside is left alone and reported.
func Remove(path string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer func() { _ = unix.Close(parent) }()
	return RemoveAt(parent, filepath.Base(path))
}

// RemoveAt is Remove for the entry name of the directory dirfd.
func RemoveAt(dirfd int, name string) error {
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return fmt.Errorf("remove %q: not a plain name", name)
	}
	err := unix.Unlinkat(dirfd, name, 0)
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return nil
	case !isDirectory(err):
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	d := &deleter{topfd: dirfd, top: name}
	return d.tree()
}

// isDirectory tells whether unlink failed because the entry is a directory;
// EPERM is what POSIX has, EISDIR what Linux gives (and EPERM for immutable files).
func isDirectory(err error) bool { return errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) }

type deleter struct {
	topfd   int // directory that holds top
	top     string
	root    int // the directory top
	renamed int // directories moved up so far
	moved   bool
}

// tree empties top, again as long as deep directories were moved into it.
func (d *deleter) tree() error {
	fd, err := openDir(d.topfd, d.top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	d.root = fd
	for {
		d.moved = false
		if err := d.empty(fd, d.top, 0); err != nil {
			return err
		}
		if !d.moved {
			return rmdir(d.topfd, d.top, d.top)
		}
	}
}

// empty deletes the content of a directory. It goes on after an error, to
// delete as much as can be.
func (d *deleter) empty(fd int, path string, depth int) error {
	names, err := list(fd, path)
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range names {
		if err := d.entry(fd, e, filepath.Join(path, e.Name()), depth); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (d *deleter) entry(fd int, e fs.DirEntry, path string, depth int) error {
	if !e.IsDir() {
		err := unix.Unlinkat(fd, e.Name(), 0)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EISDIR) {
			return &os.PathError{Op: "remove", Path: path, Err: err}
		}
	}
	if err := unix.Unlinkat(fd, e.Name(), unix.AT_REMOVEDIR); err == nil || errors.Is(err, unix.ENOENT) {
		return nil // it was empty: one call instead of five
	}
	if depth == maxDepth {
		return d.moveUp(fd, e.Name(), path)
	}
	sub, err := openDir(fd, e.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = d.empty(sub, path, depth+1)
	_ = unix.Close(sub)
	if err != nil {
		return err
	}
	return rmdir(fd, e.Name(), path)
}

// moveUp moves a deep directory into top, to be deleted from there.
func (d *deleter) moveUp(fd int, name, path string) error {
	for {
		d.renamed++
		err := unix.Renameat2(fd, name, d.root, ".deep-"+strconv.Itoa(d.renamed), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			continue // a left-over of an earlier attempt, or planted
		}
		if err != nil {
			return &os.PathError{Op: "move up", Path: path, Err: err}
		}
		d.moved = true
		return nil
	}
}

func rmdir(dirfd int, name, path string) error {
	err := unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "remove", Path: path, Err: err}
}

// openDir opens a directory for reading unless it is a symbolic link or has
// something mounted on it (EXDEV).
func openDir(dirfd int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	how := &unix.OpenHow{
		Flags:   flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(dirfd, name, how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENOSYS): // before Linux 5.6
			fd, err = openSameDevice(dirfd, name, flags)
		}
		if err != nil {
			return -1, &os.PathError{Op: "open for removal", Path: name, Err: err}
		}
		return fd, nil
	}
}

func openSameDevice(dirfd int, name string, flags int) (int, error) {
	fd, err := unix.Openat(dirfd, name, flags, 0)
	if err != nil {
		return -1, err
	}
	var here, there unix.Stat_t
	err = errors.Join(unix.Fstat(dirfd, &here), unix.Fstat(fd, &there))
	if err == nil && here.Dev != there.Dev {
		err = unix.EXDEV
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func list(fd int, path string) ([]fs.DirEntry, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(dup), path)
	defer func() { _ = f.Close() }()
	if _, err := unix.Seek(dup, 0, 0); err != nil {
		return nil, &os.PathError{Op: "seek", Path: path, Err: err}
	}
	return f.ReadDir(-1)
}
