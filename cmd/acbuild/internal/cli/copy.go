// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/store/imagestore"
)

func newCopy() command {
	return command{
		name: "copy", args: "SRC DST", summary: "Copy a file or directory to DST in the image", min: 2, max: 2, modifies: true,
		run: func(ctx context.Context, c *call) error {
			return c.withBuild(func(b *build) error {
				return c.changeRootfs(b, func(root *inroot.Root) error { return c.copyTo(ctx, b, root, c.args[0], c.args[1]) })
			})
		},
	}
}

func newCopyToDir() command {
	return command{
		name: "copy-to-dir", args: "SRC... DIR", summary: "Copy files and directories into DIR in the image", min: 2, max: -1, modifies: true,
		run: func(ctx context.Context, c *call) error {
			return c.withBuild(func(b *build) error {
				return c.changeRootfs(b, func(root *inroot.Root) error { return c.copyToDir(ctx, b, root) })
			})
		},
	}
}

// changeRootfs calls fn with the root file system and records the command.
func (c *call) changeRootfs(b *build, fn func(*inroot.Root) error) error {
	m, err := b.manifest()
	if err != nil {
		return err
	}
	if err := c.record(m); err != nil {
		return err
	}
	root, err := inroot.Open(b.rootfs())
	if err != nil {
		return err
	}
	if err := errors.Join(fn(root), root.Close()); err != nil {
		return err
	}
	return b.setManifest(m)
}

func (c *call) copyToDir(ctx context.Context, b *build, root *inroot.Root) error {
	sources, dir := c.args[:len(c.args)-1], c.args[len(c.args)-1]
	st, err := root.Stat(dir)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("target %q is not a directory", dir)
	}
	for _, src := range sources {
		abs, err := filepath.Abs(src)
		if err != nil {
			return err
		}
		if abs == "/" {
			return errors.New("the root directory has no name to copy it under")
		}
		if err := c.copyTo(ctx, b, root, src, path.Join("/", dir, filepath.Base(abs))); err != nil {
			return err
		}
	}
	return nil
}

// copyTo copies src of the host to dst in the image. Links in the directory
// part of dst are followed inside the image; a file or link at dst is replaced.
func (c *call) copyTo(ctx context.Context, b *build, root *inroot.Root, src, dst string) error {
	if strings.HasSuffix(dst, "/") {
		return hint.With(fmt.Errorf("destination %q has a trailing slash", dst), "copy into a directory with \"acbuild copy-to-dir\"")
	}
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	shown := b.path(imageDir, rootfsDir, dst)
	base := path.Base(path.Join("/", dst))
	if base == "/" {
		return &fs.PathError{Op: "mkdir", Path: shown, Err: unix.EEXIST}
	}
	dir, err := root.Resolve(path.Dir(path.Join("/", dst)))
	if err != nil {
		return err
	}
	st, err := root.Lstat(path.Join(dir, base))
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, unix.ENOENT):
		return &fs.PathError{Op: "stat", Path: shown, Err: err}
	case exists && info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: shown, Err: unix.EEXIST}
	case exists && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return &fs.PathError{Op: "copy", Path: shown, Err: unix.EISDIR}
	}
	c.debugf("copying %s to %s", src, dst)
	stage, err := c.stage(ctx, b, src, base)
	if err != nil {
		return err
	}
	err = placeCopy(root, stage, dir, base)
	if err != nil {
		err = fmt.Errorf("%s: %w", shown, err)
	}
	return errors.Join(err, stage.Close(), imagestore.RemoveTree(b.path(stagingDir)))
}

// stage copies src to a directory beside the image, so that nothing is in the
// image unless it is complete.
func (c *call) stage(ctx context.Context, b *build, src, base string) (*os.File, error) {
	if err := os.Mkdir(b.path(stagingDir), 0o700); err != nil {
		return nil, err
	}
	from, name, err := openParent(src)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	stage, err := os.Open(b.path(stagingDir))
	if err != nil {
		return nil, err
	}
	k := &copier{ctx: ctx, privileged: c.EUID == 0, links: map[inode]linkName{}, skip: b.dir}
	if err := k.entry(from, name, stage, base); err != nil {
		return nil, errors.Join(err, stage.Close(), imagestore.RemoveTree(b.path(stagingDir)))
	}
	return stage, nil
}

// placeCopy moves a copy into the directory dir of the image. What it replaces
// may be another name of a file, or a link: neither is written to.
func placeCopy(root *inroot.Root, stage *os.File, dir, base string) error {
	parent, err := root.MkdirAll(dir)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	err = unix.Renameat(int(stage.Fd()), base, int(parent.Fd()), base)
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	// Whoever is not root may not move a directory they cannot write to.
	var st unix.Stat_t
	if serr := unix.Fstatat(int(stage.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); serr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return errors.Join(err, serr)
	}
	if cerr := unix.Fchmodat(int(stage.Fd()), base, 0o700, 0); cerr != nil {
		return errors.Join(err, cerr)
	}
	if err := unix.Renameat(int(stage.Fd()), base, int(parent.Fd()), base); err != nil {
		return err
	}
	return unix.Fchmodat(int(parent.Fd()), base, st.Mode&0o7777, 0)
}

// openParent opens the directory that has src, whose name there it returns.
func openParent(src string) (*os.File, string, error) {
	abs, err := filepath.Abs(src)
	if err != nil {
		return nil, "", err
	}
	f, err := os.Open(filepath.Dir(abs))
	return f, filepath.Base(abs), err
}

// copyContent copies what is in the directory src, and its mode and owner, to
// the existing directory dst. skip is not copied.
func (c *call) copyContent(ctx context.Context, src, dst, skip string) error {
	from, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.Open(dst)
	if err != nil {
		return err
	}
	k := &copier{ctx: ctx, privileged: c.EUID == 0, links: map[inode]linkName{}, skip: skip}
	return errors.Join(k.content(from, to), to.Close())
}

type inode struct{ dev, ino uint64 }

// linkName is a copy that later names of the same inode link to.
type linkName struct {
	dir  *os.File
	name string
}

// copier copies trees. It walks by descriptors and follows no link, neither in
// the source nor in the copy.
type copier struct {
	ctx        context.Context // of one copy
	privileged bool
	links      map[inode]linkName
	skip       string // a directory that is left out
	skipInode  *inode
}

// content copies the entries of a directory, then its metadata.
func (k *copier) content(from, to *os.File) error {
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		if err := k.entry(from, name, to, name); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	return k.metadata(from, to, &st)
}

func (k *copier) entry(from *os.File, name string, to *os.File, as string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "stat", Path: filepath.Join(from.Name(), name), Err: err}
	}
	if err := k.copyEntry(from, name, to, as, &st); err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return err
		}
		return &fs.PathError{Op: "copy", Path: filepath.Join(from.Name(), name), Err: err}
	}
	return nil
}

func (k *copier) copyEntry(from *os.File, name string, to *os.File, as string, st *unix.Stat_t) error {
	format := st.Mode & unix.S_IFMT
	switch format {
	case unix.S_IFDIR:
		return k.directory(from, name, to, as, st)
	case unix.S_IFSOCK:
		return nil
	}
	id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev has another type on other machines
	if first, ok := k.links[id]; ok {
		return unix.Linkat(int(first.dir.Fd()), first.name, int(to.Fd()), as, 0)
	}
	var err error
	switch format {
	case unix.S_IFREG:
		err = k.regular(from, name, to, as, st)
	case unix.S_IFLNK:
		err = k.symlink(from, name, to, as, st)
	default: // devices and FIFOs
		err = unix.Mknodat(int(to.Fd()), as, st.Mode, int(st.Rdev))
		if err == nil {
			err = k.nodeMetadata(to, as, st)
		}
		if errors.Is(err, unix.EPERM) && !k.privileged {
			return fmt.Errorf("only root can make device nodes: %w", err)
		}
	}
	if err != nil || st.Nlink < 2 {
		return err
	}
	fd, err := unix.Dup(int(to.Fd()))
	if err != nil {
		return err
	}
	k.links[id] = linkName{os.NewFile(uintptr(fd), to.Name()), as} // closed when it is collected
	return nil
}

func (k *copier) directory(from *os.File, name string, to *os.File, as string, st *unix.Stat_t) error {
	skip, err := k.isSkipped(st)
	if skip || err != nil {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	src, err := openAt(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	if err := unix.Mkdirat(int(to.Fd()), as, 0o700); err != nil {
		return err
	}
	dst, err := openAt(to, as, flags, 0)
	if err != nil {
		return err
	}
	return errors.Join(k.content(src, dst), dst.Close())
}

func (k *copier) isSkipped(st *unix.Stat_t) (bool, error) {
	if k.skipInode == nil {
		var own unix.Stat_t
		if err := unix.Stat(k.skip, &own); err != nil {
			return false, err
		}
		k.skipInode = &inode{uint64(own.Dev), own.Ino} //nolint:unconvert // Dev has another type on other machines
	}
	return *k.skipInode == inode{uint64(st.Dev), st.Ino}, nil //nolint:unconvert // Dev has another type on other machines
}

func (k *copier) regular(from *os.File, name string, to *os.File, as string, st *unix.Stat_t) error {
	src, err := openAt(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := openAt(to, as, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, ctxReader{k.ctx, src})
	if err == nil {
		err = k.metadata(src, dst, st)
	}
	return errors.Join(err, dst.Close())
}

func (k *copier) symlink(from *os.File, name string, to *os.File, as string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(from.Fd()), name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), int(to.Fd()), as); err != nil {
		return err
	}
	return errors.Join(k.chown(to, as, st), unix.UtimesNanoAt(int(to.Fd()), as, times(st), unix.AT_SYMLINK_NOFOLLOW))
}

func (k *copier) nodeMetadata(to *os.File, as string, st *unix.Stat_t) error {
	if err := k.chown(to, as, st); err != nil {
		return err
	}
	// Just made and no link; the umask took bits away.
	if err := unix.Fchmodat(int(to.Fd()), as, st.Mode&0o7777, 0); err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(to.Fd()), as, times(st), unix.AT_SYMLINK_NOFOLLOW)
}

func (k *copier) chown(to *os.File, as string, st *unix.Stat_t) error {
	err := unix.Fchownat(int(to.Fd()), as, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.EPERM) && !k.privileged {
		return nil
	}
	return err
}

// metadata gives an open file owner, mode, extended attributes and times.
func (k *copier) metadata(src, dst *os.File, st *unix.Stat_t) error {
	mode := st.Mode & 0o7777
	err := unix.Fchown(int(dst.Fd()), int(st.Uid), int(st.Gid))
	if errors.Is(err, unix.EPERM) && !k.privileged {
		if int(st.Uid) != os.Geteuid() { // it would be another user's right
			mode &^= unix.S_ISUID | unix.S_ISGID
		}
		err = nil
	}
	if err != nil {
		return err
	}
	if err := k.xattrs(src, dst); err != nil {
		return err
	}
	if err := unix.Fchmod(int(dst.Fd()), mode); err != nil {
		return err
	}
	return futimes(dst, st)
}

// xattrs copies those attributes that an image keeps.
func (k *copier) xattrs(src, dst *os.File) error {
	size, err := unix.Flistxattr(int(src.Fd()), nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(int(src.Fd()), list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(string(list[:size]), "\x00") {
		if !strings.HasPrefix(name, "user.") && (name != "security.capability" || !k.privileged) {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(int(src.Fd()), name, value)
		if err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
		if err := unix.Fsetxattr(int(dst.Fd()), name, value[:n], 0); err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	return nil
}

func times(st *unix.Stat_t) []unix.Timespec { return []unix.Timespec{st.Atim, st.Mtim} }

func futimes(f *os.File, st *unix.Stat_t) error {
	return unix.UtimesNanoAt(int(f.Fd()), "", times(st), unix.AT_EMPTY_PATH)
}

func openAt(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}
