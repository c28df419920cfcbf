// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// UnsupportedError says that the kernel or the file system has no idmapped mounts.
type UnsupportedError struct{ Err error }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("no idmapped mounts by this kernel or file system: %v", e.Err)
}

func (e *UnsupportedError) Unwrap() error { return e.Err }

// Mount idmaps a detached tree of mounts (open_tree(2) with OPEN_TREE_CLONE,
// not moved anywhere yet) for the range. All mounts of the tree are, or none.
// What cannot be is an *UnsupportedError.
func Mount(tree *os.File, shift, count uint32) error {
	ns, err := NewUserNS(shift, count)
	if err != nil {
		return err
	}
	return errors.Join(MountWith(tree, ns), ns.Close())
}

// MountWith is Mount for many trees of one pod.
func MountWith(tree, userns *os.File) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	err := unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		return &UnsupportedError{err}
	case err != nil:
		return fmt.Errorf("idmap mount %s: %w", tree.Name(), err)
	}
	return nil
}

// Clone returns a detached copy of the mount at an existing directory or
// file, which may be idmapped and moved; the caller closes it. flags may be
// AT_RECURSIVE for what is mounted below, and AT_SYMLINK_NOFOLLOW.
func Clone(path string, flags uint) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Supported tries whether the file system of an existing directory can be
// mounted idmapped. A plain no is an *UnsupportedError.
func Supported(dir string) error {
	tree, err := Clone(dir, 0)
	if errors.Is(err, unix.ENOSYS) {
		return &UnsupportedError{err}
	}
	if err != nil {
		return err
	}
	return errors.Join(Mount(tree, 1<<16, 1), tree.Close())
}
