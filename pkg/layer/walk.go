// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// opaqueXattr marks a directory of a lower layer whose lower namesakes are
// hidden (kernel Documentation/filesystems/overlayfs.rst).
const opaqueXattr = "trusted.overlay.opaque"

// walker visits a tree in index order by descriptor, never following a link
// and never leaving the file system it started on.
type walker struct {
	ctx   context.Context
	xattr bool // read extended attributes, and symbolic link targets
	links map[fileID]string
	home  homeFS
	fn    func(*Entry) error
}

// walkTree calls fn for the root (".") and everything below it. Entries carry
// LinkTo; HasLinks stands for "more than one link", which is the same as long
// as all names of an inode are inside the tree.
func walkTree(ctx context.Context, root string, xattrs bool, fn func(*Entry) error) error {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: root, Err: err}
	}
	dir := os.NewFile(uintptr(fd), root)
	defer closeQuietly(dir)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: root, Err: err}
	}
	home, err := homeOf(fd, &st)
	if err != nil {
		return &os.PathError{Op: "stat", Path: root, Err: err}
	}
	w := &walker{ctx: ctx, xattr: xattrs, links: map[fileID]string{}, home: home, fn: fn}
	e := w.home.entry(".", &st)
	if err := w.details(fd, "", &e); err != nil {
		return err
	}
	if err := fn(&e); err != nil {
		return err
	}
	return w.dir(dir, ".")
}

func (w *walker) dir(dir *os.File, path string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("read directory %q: %w", path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.entry(int(dir.Fd()), join(path, name), name); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(dirfd int, path, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	e := w.home.entry(path, &st)
	if e.Type == 0 || !w.home.has(dirfd, name, &st) {
		return &ChangedError{Path: path, What: "not a file of this tree"}
	}
	if e.Type != Directory && st.Nlink > 1 {
		id := fileID{st.Dev, st.Ino}
		if first, ok := w.links[id]; ok {
			e.LinkTo = first
		} else {
			w.links[id] = strings.Clone(path)
			e.HasLinks = true
		}
	}
	if e.Type != Directory {
		if err := w.details(dirfd, name, &e); err != nil {
			return err
		}
		return w.fn(&e)
	}
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	defer closeQuietly(dir)
	if err := w.details(fd, "", &e); err != nil {
		return err
	}
	if err := w.fn(&e); err != nil {
		return err
	}
	return w.dir(dir, path)
}

// details reads what lstat does not tell. name is "" for the directory fd itself.
func (w *walker) details(fd int, name string, e *Entry) error {
	if !w.xattr {
		return nil
	}
	switch e.Type {
	case Symlink:
		buf := make([]byte, 4096)
		n, err := unix.Readlinkat(fd, name, buf)
		if err != nil {
			return &os.PathError{Op: "readlink", Path: e.Path, Err: err}
		}
		e.Target = string(buf[:n])
		return nil
	case Directory, Regular:
		return readXattrs(fd, name, e)
	}
	return nil
}

// readXattrs fills the attributes this package keeps. It goes through
// /proc/self/fd because there is no fd-relative listxattr before Linux 6.13;
// the last component cannot be a link, lstat has just seen a file there and
// the tree is private to root.
func readXattrs(fd int, name string, e *Entry) error {
	path := procPath(fd, name)
	var buf [1024]byte
	n, err := unix.Llistxattr(path, buf[:])
	list := buf[:max(n, 0)]
	if errors.Is(err, unix.ERANGE) {
		list = make([]byte, 64<<10)
		n, err = unix.Llistxattr(path, list)
		list = list[:max(n, 0)]
	}
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "listxattr", Path: e.Path, Err: err}
	}
	if n == 0 {
		return nil
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if !keepXattr(name) && name != opaqueXattr {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return &os.PathError{Op: "getxattr " + name, Path: e.Path, Err: err}
		}
		if name == opaqueXattr {
			e.Opaque = string(value[:n]) == "y"
			continue
		}
		e.Xattrs = append(e.Xattrs, Xattr{Name: name, Value: string(value[:n])})
	}
	slices.SortFunc(e.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// keepXattr tells which attributes of an archive are applied: file
// capabilities and the user namespace, but none that overlayfs gives a meaning
// to (spec images.md 10.9).
func keepXattr(name string) bool {
	if strings.HasPrefix(name, "user.overlay.") {
		return false
	}
	return name == "security.capability" || strings.HasPrefix(name, "user.")
}

func procPath(fd int, name string) string {
	p := fmt.Sprintf("/proc/self/fd/%d", fd)
	if name == "" {
		return p + "/."
	}
	return p + "/" + name
}
