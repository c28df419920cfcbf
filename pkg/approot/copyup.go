// SPDX-License-Identifier: Apache-2.0

package approot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/inroot"
)

// copyUp fills the directory dst with what the image has at target, and takes
// its mode and owner. Nothing there, or no directory: dst stays as it is. It
// reads a copy of the root without what is mounted there: neither volumes nor
// the host's /dev and /proc are the image's content.
func (t *Tree) copyUp(target string, dst *os.File) error {
	fd, err := unix.OpenTree(t.root.FD(), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("copy the mount of the root: %w", err)
	}
	root := inroot.FromFile(os.NewFile(uintptr(fd), "/"))
	defer func() { _ = root.Close() }()
	resolved, err := root.Resolve(target)
	if err != nil {
		return err
	}
	if resolved == "/" {
		return fmt.Errorf("%s is the root of the app", target)
	}
	src, err := root.Open(resolved, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	c := copier{links: map[inode]string{}, top: dst}
	if err := c.dir(src, dst, ""); err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// copier copies trees between directory descriptors; no name of the source is
// ever looked up through another component.
type copier struct {
	links map[inode]string // files with several names: path below top
	top   *os.File
}

// dir copies the content of src into dst, then its attributes.
func (c *copier) dir(src, dst *os.File, rel string) error {
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.entry(src, dst, name, rel+"/"+name); err != nil {
			return fmt.Errorf("%s: %w", rel+"/"+name, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	return attributes(int(src.Fd()), int(dst.Fd()), &st)
}

func (c *copier) entry(src, dst *os.File, name, rel string) error {
	var st unix.Stat_t
	from, to := int(src.Fd()), int(dst.Fd())
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	id := inode{st.Dev, st.Ino}
	if first, ok := c.links[id]; ok {
		return unix.Linkat(int(c.top.Fd()), first[1:], to, name, 0) // both are ours
	}
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.links[id] = rel
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subdir(from, to, name, rel)
	case unix.S_IFREG:
		return file(from, to, name, &st)
	case unix.S_IFLNK:
		return symlink(from, to, name, &st)
	case unix.S_IFSOCK:
		return nil // useless without the process behind it
	}
	if err := unix.Mknodat(to, name, st.Mode, int(st.Rdev)); err != nil {
		return err
	}
	return unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

func (c *copier) subdir(from, to int, name, rel string) error {
	if err := unix.Mkdirat(to, name, 0o755); err != nil {
		return err
	}
	// What is mounted there already is not the image's.
	fd, err := unix.Openat2(from, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.EXDEV) {
		return nil
	}
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(fd), name)
	defer func() { _ = src.Close() }()
	dst, err := openat(to, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = dst.Close() }()
	return c.dir(src, dst, rel)
}

func file(from, to int, name string, st *unix.Stat_t) (err error) {
	src, err := openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil { // copy_file_range where possible
		return err
	}
	return attributes(int(src.Fd()), int(dst.Fd()), st)
}

func symlink(from, to int, name string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
		return err
	}
	return unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// attributes copies owner, mode, extended attributes and times, in this order:
// a change of owner drops set-user-ID bits and security.capability.
func attributes(from, to int, st *unix.Stat_t) error {
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	if err := xattrs(from, to); err != nil {
		return err
	}
	return setTimes(to, st)
}

// setTimes sets the times of an open file. It does not name it through procfs,
// which may be another PID namespace's (utimensat(2), "futimens").
func setTimes(fd int, st *unix.Stat_t) error {
	times := [2]unix.Timespec{st.Atim, st.Mtim}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func xattrs(from, to int) error {
	size, err := unix.Flistxattr(from, nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		// The label of the volume is the host's business, and overlayfs keeps
		// notes of its own.
		if name == "" || name == "security.selinux" || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		n, err := unix.Fgetxattr(from, name, nil)
		if err != nil {
			return err
		}
		value := make([]byte, n)
		if n, err = unix.Fgetxattr(from, name, value); err != nil {
			return err
		}
		if err := unix.Fsetxattr(to, name, value[:n], 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func openat(dir int, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
