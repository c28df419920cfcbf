// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Detach puts the overlay together as Mount does and returns it as a mount that
// is nowhere, for Attach. Target is where the calling thread, which must be in
// a mount namespace of its own, has it meanwhile.
//
// It is mount(2) and then open_tree(2), not fsopen(2): fsconfig(2) takes values
// of up to 255 bytes, and a stack of layers by name needs Linux 6.5.
func (o Overlay) Detach() (*os.File, error) {
	if err := o.Mount(); err != nil {
		return nil, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, o.Target, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		err = fmt.Errorf("%s: detach overlay: %w", o.what(), err)
	}
	if umount := unix.Unmount(o.Target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); umount != nil {
		err = errors.Join(err, &os.PathError{Op: "unmount", Path: o.Target, Err: umount})
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), o.Target), nil
}

// Attach mounts what Detach returned on an open directory in the mount
// namespace of the calling thread.
func Attach(mount, target *os.File) error {
	err := unix.MoveMount(int(mount.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("mount on %s: %w", target.Name(), err)
	}
	return nil
}

// maxStacked bounds how many mounts on one directory Clear takes away.
const maxStacked = 100

// Clear takes away whatever is mounted on a path and below it, busy or not, in
// the mount namespace of the calling thread. No part of the path may be a link
// that the pod can change.
func Clear(path string) error {
	for range maxStacked {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted there
			return nil
		case err != nil:
			return &os.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
	return &os.PathError{Op: "unmount", Path: path, Err: unix.EBUSY}
}
