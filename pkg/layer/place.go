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
	real, err := u.realPath(fd, name)
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	u.forgetParent()
	u.parent, u.parentName, u.parentReal = fd, name, real
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
	real := join(realDir, base)
	opaque := u.whited[real]
	if opaque {
		if err := u.unhide(parent, base, real); err != nil {
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
	u.res.implicit[real] = true
	u.touch(real)
	if u.res.shadow != nil {
		u.res.shadow[real] = &Entry{Path: real, Type: Directory, Mode: 0o755, Implicit: true, Opaque: opaque}
		return nil
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: prefix, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if err := chownMode(fd, real, 0, 0, 0o755); err != nil {
		return err
	}
	if opaque {
		return u.setOpaque(fd, real)
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
	real := join(u.parentReal, base)
	u.touch(real)
	if h.Typeflag == tar.TypeDir {
		return u.directory(base, real, h)
	}
	if err := u.makeRoom(base, real); err != nil {
		return err
	}
	if u.res.shadow != nil {
		return u.shadowEntry(base, real, h, content)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.regular(base, real, h, content)
	case tar.TypeLink:
		return u.hardLink(base, real, h)
	case tar.TypeSymlink:
		return u.symlink(base, real, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(base, real, h)
	}
	return fmt.Errorf("unsupported type: %v", h.Typeflag)
}

// makeRoom removes what this layer put at base before: in an OCI layer the
// last entry of a name wins.
func (u *unpacker) makeRoom(base, real string) error {
	if u.whited[real] {
		return u.unhide(u.parent, base, real)
	}
	var st unix.Stat_t
	err := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if _, ok := u.res.shadow[real]; errors.Is(err, unix.ENOENT) && !ok {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "lstat", Path: real, Err: err}
	}
	if u.o.ACI {
		return duplicate(join("rootfs", real))
	}
	return u.remove(base, real)
}

// remove deletes base from u.parent with everything below it.
func (u *unpacker) remove(base, real string) error { return u.removeAt(u.parent, base, real) }

func (u *unpacker) removeAt(dirfd int, base, real string) error {
	dir, err := os.OpenRoot(procPath(dirfd, ""))
	if err != nil {
		return err
	}
	defer closeQuietly(dir)
	if err := dir.RemoveAll(base); err != nil {
		return err
	}
	u.forget(real)
	return nil
}

func (u *unpacker) directory(base, real string, h *tar.Header) error {
	opaque := u.whited[real]
	if opaque {
		if err := u.unhide(u.parent, base, real); err != nil {
			return err
		}
	}
	err := unix.Mkdirat(u.parent, base, 0o755)
	if errors.Is(err, unix.EEXIST) {
		err = u.overExisting(base, real)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: real, Err: err}
	}
	fd, err := unix.Openat(u.parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: real, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	delete(u.res.implicit, real)
	u.dirs[real] = h
	if err := u.dirMeta(fd, real, h); err != nil {
		return err
	}
	if opaque {
		return u.setOpaque(fd, real)
	}
	return nil
}

// overExisting keeps a directory that is there and replaces anything else.
func (u *unpacker) overExisting(base, real string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if u.o.ACI && (!isDir || u.dirs[real] != nil) {
		return duplicate(join("rootfs", real))
	}
	if isDir {
		return nil
	}
	if err := u.remove(base, real); err != nil {
		return err
	}
	return unix.Mkdirat(u.parent, base, 0o755)
}

// dirMeta gives a directory everything but its times.
func (u *unpacker) dirMeta(fd int, real string, h *tar.Header) error {
	if u.res.shadow != nil {
		e, err := shadowOf(real, h, u.o.Limits)
		if err != nil {
			return err
		}
		if old := u.res.shadow[real]; old != nil {
			e.Opaque = old.Opaque
		}
		u.res.shadow[real] = e
		return nil
	}
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := chownMode(fd, real, uid, gid, modeOf(h)); err != nil {
		return err
	}
	return u.setXattrs(fd, real, h)
}

func (u *unpacker) regular(base, real string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(u.parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: real, Err: err}
	}
	f := os.NewFile(uintptr(fd), real)
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

func (u *unpacker) symlink(base, real string, h *tar.Header) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(h.Linkname, u.parent, base); err != nil {
		return &os.PathError{Op: "symlink", Path: real, Err: err}
	}
	return u.finishNode(base, real, uid, gid, h)
}

// node makes devices and FIFOs. Device 0:0 is overlayfs's whiteout.
func (u *unpacker) node(base, real string, h *tar.Header) error {
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
		return &os.PathError{Op: "mknod", Path: real, Err: err}
	}
	if err := u.finishNode(base, real, uid, gid, h); err != nil {
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

func (u *unpacker) finishNode(base, real string, uid, gid int, h *tar.Header) error {
	if err := unix.Fchownat(u.parent, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "lchown", Path: real, Err: err}
	}
	ts := timesOf(h)
	if err := unix.UtimesNanoAt(u.parent, base, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: real, Err: err}
	}
	return nil
}

// hardLink links to a file of the same layer, wherever links inside the tree
// lead; the target itself is not followed.
func (u *unpacker) hardLink(base, real string, h *tar.Header) error {
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
	if entryFromStat(real, &st).Type == Whiteout {
		return fmt.Errorf("hard link to %q, which this layer removes", h.Linkname)
	}
	if err := unix.Linkat(dirfd, name, u.parent, base, 0); err != nil {
		return &os.LinkError{Op: "link", Old: h.Linkname, New: real, Err: err}
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
