// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"golang.org/x/sys/unix"
)

// fileID tells the files of a walk apart.
type fileID struct{ dev, ino uint64 }

// homeFS is the file system that a tree lies on, and has to lie on as a whole.
// On most of them lstat alone tells whether a file does. An overlay whose layers
// are on different file systems is no such: its directories have the device
// number of the overlay and inode numbers that last until the overlay is mounted
// again or the kernel forgets them, its other files the numbers they have in
// their layer (kernel Documentation/filesystems/overlayfs.rst, "Inode
// properties").
type homeFS struct {
	dev     uint64
	overlay bool
	mount   uint64 // of an overlay, as statx(2) has it; 0 where Linux does not tell (before 5.8)
}

// homeOf is the file system of the directory fd, of which st tells.
func homeOf(fd int, st *unix.Stat_t) (homeFS, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return homeFS{}, err
	}
	h := homeFS{dev: st.Dev, overlay: fs.Type == unix.OVERLAYFS_SUPER_MAGIC}
	if h.overlay {
		h.mount, _ = mountOf(fd, "")
	}
	return h, nil
}

// has tells whether a name, of which st tells, is of this file system and not
// something mounted there. Where that cannot be known it is not.
func (h *homeFS) has(dirfd int, name string, st *unix.Stat_t) bool {
	if st.Dev == h.dev {
		return true
	}
	if !h.overlay || h.mount == 0 || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false
	}
	mount, ok := mountOf(dirfd, name)
	return ok && mount == h.mount
}

// entry is entryFromStat, without an inode number that would not last.
func (h *homeFS) entry(path string, st *unix.Stat_t) Entry {
	e := entryFromStat(path, st)
	if h.overlay && e.Type == Directory {
		e.Ino = 0
	}
	return e
}

// mountOf is the number of the mount that a name is on; ok is false where Linux
// does not tell.
func mountOf(dirfd int, name string) (id uint64, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
	return st.Mnt_id, err == nil && st.Mask&unix.STATX_MNT_ID != 0
}
