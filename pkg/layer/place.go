// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNeedsLower is returned by Unpack for a layer that cannot stand alone: it
// writes through a symbolic link or links to a file that only a lower layer
// can supply. Flatten unpacks such a layer on top of the lower ones.
var ErrNeedsLower = errors.New("not in this layer")

// errLeadsOut is what openat2 would report as ELOOP, ENOENT or EXDEV.
var errLeadsOut = fmt.Errorf("a symbolic link in the way leads nowhere: %w", ErrNeedsLower)

// enter makes u.parent the directory called name, creating what is missing.
// Links are followed inside the tree only.
func (u *unpacker) enter(name string) error {
	if u.parent >= 0 && u.parentName == name {
		return nil
	}
	fd, err := u.openDir(name)
	if errors.Is(err, unix.ENOENT) {
		fd, err = u.makeDirs(name)
	}
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%q is not a directory", name)
	}
	if err != nil {
		return err
	}
	at, err := u.realPath(fd, name)
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	u.forgetParent()
	u.parent, u.parentName, u.parentReal = fd, name, at
	return nil
}

func (u *unpacker) forgetParent() {
	if u.parent >= 0 {
		_ = unix.Close(u.parent)
	}
	u.parent, u.parentName, u.parentReal = -1, "", ""
}

// openDir opens a directory of the tree. With Unprivileged no link is
// followed, because the tree on disk does not tell the whole story then.
func (u *unpacker) openDir(name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if u.o.Unprivileged {
		how.Resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	return unix.Openat2(u.root, name, &how)
}

// makeDirs creates name and its parents as implicit directories. A component
// that this layer whited out becomes an opaque directory.
func (u *unpacker) makeDirs(name string) (int, error) {
	parts := strings.Split(name, "/")
	for i := range parts {
		prefix := path.Join(parts[:i+1]...)
		fd, err := u.openDir(prefix)
		if err == nil {
			_ = unix.Close(fd)
			continue
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return -1, &os.PathError{Op: "open", Path: prefix, Err: err}
		}
		if err := u.makeDir(path.Join(parts[:i]...), parts[i], prefix); err != nil {
			return -1, err
		}
	}
	return u.openDir(name)
}

func (u *unpacker) makeDir(dir, base, prefix string) error {
	if dir == "" {
		dir = "."
	}
	parent, err := u.openDir(dir)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(parent) }()
	realDir, err := u.realPath(parent, dir)
	if err != nil {
		return err
	}
	at := join(realDir, base)
	opaque := u.whited[at]
	if opaque {
		if err := u.unhide(parent, base, at); err != nil {
			return err
		}
	}
	err = unix.Mkdirat(parent, base, 0o755)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%q: %w", prefix, errLeadsOut)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: prefix, Err: err}
	}
	u.res.implicit[at] = true
	u.touch(at)
	if u.res.shadow != nil {
		u.res.shadow[at] = &Entry{Path: at, Type: Directory, Mode: 0o755, Implicit: true, Opaque: opaque}
		return nil
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: prefix, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if err := chownMode(fd, at, 0, 0, 0o755); err != nil {
		return err
	}
	if opaque {
		return u.setOpaque(fd, at)
	}
	return nil
}

// realPath is where in the tree a descriptor is, links resolved.
func (u *unpacker) realPath(fd int, name string) (string, error) {
	var buf [4096]byte
	n, err := unix.Readlink(procSelf(fd), buf[:])
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	m, err := unix.Readlink(procSelf(u.root), buf[n:])
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	got, root := string(buf[:n]), string(buf[n:n+m])
	if got == root {
		return ".", nil
	}
	rel, ok := strings.CutPrefix(got, root+"/")
	if !ok {
		return "", fmt.Errorf("%q: %w", name, errLeadsOut)
	}
	return rel, nil
}

func procSelf(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// place creates base in u.parent.
func (u *unpacker) place(base string, h *tar.Header, content io.Reader) error {
	if len(base) > 255 {
		return &LimitError{What: "bytes in a name's component", Max: 255}
	}
	at := join(u.parentReal, base)
	u.touch(at)
	if h.Typeflag == tar.TypeDir {
		return u.directory(base, at, h)
	}
	if err := u.makeRoom(base, at); err != nil {
		return err
	}
	if u.res.shadow != nil {
		return u.shadowEntry(base, at, h, content)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.regular(base, at, h, content)
	case tar.TypeLink:
		return u.hardLink(base, at, h)
	case tar.TypeSymlink:
		return u.symlink(base, at, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(base, at, h)
	}
	return fmt.Errorf("unsupported type: %v", h.Typeflag)
}

// makeRoom removes what this layer put at base before: in an OCI layer the
// last entry of a name wins.
func (u *unpacker) makeRoom(base, at string) error {
	if u.whited[at] {
		return u.unhide(u.parent, base, at)
	}
	var st unix.Stat_t
	err := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if _, ok := u.res.shadow[at]; errors.Is(err, unix.ENOENT) && !ok {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "lstat", Path: at, Err: err}
	}
	if u.o.ACI {
		return duplicate(join("rootfs", at))
	}
	return u.remove(base, at)
}

// remove deletes base from u.parent with everything below it.
func (u *unpacker) remove(base, at string) error { return u.removeAt(u.parent, base, at) }

func (u *unpacker) removeAt(dirfd int, base, at string) error {
	dir, err := os.OpenRoot(procPath(dirfd, ""))
	if err != nil {
		return err
	}
	defer closeQuietly(dir)
	if err := dir.RemoveAll(base); err != nil {
		return err
	}
	u.forget(at)
	return nil
}

func (u *unpacker) directory(base, at string, h *tar.Header) error {
	opaque := u.whited[at]
	if opaque {
		if err := u.unhide(u.parent, base, at); err != nil {
			return err
		}
	}
	err := unix.Mkdirat(u.parent, base, 0o755)
	if errors.Is(err, unix.EEXIST) {
		err = u.overExisting(base, at)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: at, Err: err}
	}
	fd, err := unix.Openat(u.parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: at, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	delete(u.res.implicit, at)
	u.dirs[at] = h
	if err := u.dirMeta(fd, at, h); err != nil {
		return err
	}
	if opaque {
		return u.setOpaque(fd, at)
	}
	return nil
}

// overExisting keeps a directory that is there and replaces anything else.
func (u *unpacker) overExisting(base, at string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if u.o.ACI && (!isDir || u.dirs[at] != nil) {
		return duplicate(join("rootfs", at))
	}
	if isDir {
		return nil
	}
	if err := u.remove(base, at); err != nil {
		return err
	}
	return unix.Mkdirat(u.parent, base, 0o755)
}

// dirMeta gives a directory everything but its times.
func (u *unpacker) dirMeta(fd int, at string, h *tar.Header) error {
	if u.res.shadow != nil {
		e, err := shadowOf(at, h, u.o.Limits)
		if err != nil {
			return err
		}
		if old := u.res.shadow[at]; old != nil {
			e.Opaque = old.Opaque
		}
		u.res.shadow[at] = e
		return nil
	}
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := chownMode(fd, at, uid, gid, modeOf(h)); err != nil {
		return err
	}
	return u.setXattrs(fd, at, h)
}

func (u *unpacker) regular(base, at string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(u.parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: at, Err: err}
	}
	f := os.NewFile(uintptr(fd), at)
	if err := u.fill(f, h, content); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func (u *unpacker) fill(f *os.File, h *tar.Header, content io.Reader) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := u.freeSpace(h.Size); err != nil {
		return err
	}
	if err := writeContent(f, content, h.Size, u.buf); err != nil {
		return err
	}
	fd := int(f.Fd())
	if err := chownMode(fd, f.Name(), uid, gid, modeOf(h)); err != nil {
		return err
	}
	// After chown, which drops file capabilities.
	if err := u.setXattrs(fd, f.Name(), h); err != nil {
		return err
	}
	ts := timesOf(h)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, procSelf(fd), ts[:], 0); err != nil {
		return &os.PathError{Op: "utimensat", Path: f.Name(), Err: err}
	}
	return nil
}

func (u *unpacker) symlink(base, at string, h *tar.Header) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(h.Linkname, u.parent, base); err != nil {
		return &os.PathError{Op: "symlink", Path: at, Err: err}
	}
	return u.finishNode(base, at, uid, gid, h)
}

// node makes devices and FIFOs. Device 0:0 is overlayfs's whiteout.
func (u *unpacker) node(base, at string, h *tar.Header) error {
	mode, dev := uint32(unix.S_IFIFO), 0
	if h.Typeflag != tar.TypeFifo {
		mode = unix.S_IFBLK
		if h.Typeflag == tar.TypeChar {
			mode = unix.S_IFCHR
		}
		major, minor, err := deviceOf(h)
		if err != nil {
			return err
		}
		dev = int(unix.Mkdev(major, minor))
	}
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := unix.Mknodat(u.parent, base, mode|0o600, dev); err != nil {
		return &os.PathError{Op: "mknod", Path: at, Err: err}
	}
	if err := u.finishNode(base, at, uid, gid, h); err != nil {
		return err
	}
	// fchmodat has no NOFOLLOW before Linux 6.6; the node was made just above
	// in a directory only root can reach.
	return unix.Fchmodat(u.parent, base, modeOf(h), 0)
}

func deviceOf(h *tar.Header) (major, minor uint32, err error) {
	const maxMajor, maxMinor = 1<<12 - 1, 1<<20 - 1
	if h.Devmajor < 0 || h.Devmajor > maxMajor || h.Devminor < 0 || h.Devminor > maxMinor {
		return 0, 0, fmt.Errorf("impossible device number %d:%d", h.Devmajor, h.Devminor)
	}
	if h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0 {
		return 0, 0, errors.New("character device 0:0 is reserved for whiteouts")
	}
	return uint32(h.Devmajor), uint32(h.Devminor), nil
}

func (u *unpacker) finishNode(base, at string, uid, gid int, h *tar.Header) error {
	if err := unix.Fchownat(u.parent, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "lchown", Path: at, Err: err}
	}
	ts := timesOf(h)
	if err := unix.UtimesNanoAt(u.parent, base, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: at, Err: err}
	}
	return nil
}

// hardLink links to a file of the same layer, wherever links inside the tree
// lead; the target itself is not followed.
func (u *unpacker) hardLink(base, at string, h *tar.Header) error {
	dirfd, name, err := u.linkTarget(h.Linkname)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dirfd) }()
	var st unix.Stat_t
	err = unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, ErrNeedsLower)
	}
	if err != nil {
		return &os.PathError{Op: "lstat", Path: h.Linkname, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("hard link to %q, which is a directory", h.Linkname)
	}
	if entryFromStat(at, &st).Type == Whiteout {
		return fmt.Errorf("hard link to %q, which this layer removes", h.Linkname)
	}
	if err := unix.Linkat(dirfd, name, u.parent, base, 0); err != nil {
		return &os.LinkError{Op: "link", Old: h.Linkname, New: at, Err: err}
	}
	return nil
}

// linkTarget opens the directory of a hard link's target.
func (u *unpacker) linkTarget(linkname string) (int, string, error) {
	target, err := cleanName(linkname, u.o.Limits.Path)
	if err != nil {
		return -1, "", fmt.Errorf("hard link to %q: %w", linkname, err)
	}
	if u.o.ACI {
		below, ok := strings.CutPrefix(target, "rootfs/")
		if !ok {
			return -1, "", fmt.Errorf("hard link to %q, which is outside of rootfs", linkname)
		}
		target = below
	}
	if target == "." {
		return -1, "", fmt.Errorf("hard link to %q, which is a directory", linkname)
	}
	dir, base := path.Split(target)
	fd, err := u.openDir(path.Clean(dir))
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			err = ErrNeedsLower
		}
		return -1, "", fmt.Errorf("hard link to %q: %w", linkname, err)
	}
	return fd, base, nil
}
