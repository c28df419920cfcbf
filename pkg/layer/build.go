// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// builder creates merged entries in a new tree, in merge order. The tree has
// no links in the way, because only the builder writes to it.
type builder struct {
	root  int
	src   *trees
	shift uint32 // added to owners
	count uint32 // ids from here on are refused; 0: no limit
	dirs  []Entry
	dir   int
	dirAt string
	buf   []byte
}

func newBuilder(dst string, layers []Source) (*builder, error) {
	fd, err := unix.Open(dst, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dst, Err: err}
	}
	return &builder{root: fd, src: newTrees(layers), dir: -1}, nil
}

func (b *builder) close() {
	b.src.close()
	if b.dir >= 0 {
		_ = unix.Close(b.dir)
	}
	_ = unix.Close(b.root)
}

// parent is the descriptor of the directory path is in, and its last component.
func (b *builder) parent(path string) (int, string, error) {
	dir := parentOf(path)
	base := path
	if dir != "." {
		base = path[len(dir)+1:]
	}
	if b.dir >= 0 && b.dirAt == dir {
		return b.dir, base, nil
	}
	fd, err := unix.Openat2(b.root, dir, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath,
	})
	if err != nil {
		return -1, "", &os.PathError{Op: "open", Path: dir, Err: err}
	}
	if b.dir >= 0 {
		_ = unix.Close(b.dir)
	}
	b.dir, b.dirAt = fd, dir
	return fd, base, nil
}

// add creates one entry.
func (b *builder) add(m *Merged) error {
	uid, gid, err := b.ids(&m.Entry)
	if err != nil {
		return err
	}
	if m.Path == "." {
		b.dirs = append(b.dirs, m.Entry)
		return b.finishDir(b.root, &m.Entry, uid, gid)
	}
	dir, base, err := b.parent(m.Path)
	if err != nil {
		return err
	}
	if m.Surviving != "" {
		return b.link(dir, base, m)
	}
	switch m.Type {
	case Directory:
		return b.directory(dir, base, m, uid, gid)
	case Regular:
		return b.regular(dir, base, m, uid, gid)
	case Symlink:
		err = unix.Symlinkat(m.Target, dir, base)
	default:
		err = unix.Mknodat(dir, base, nodeMode(m.Type)|0o600, int(unix.Mkdev(m.Major, m.Minor)))
	}
	if err != nil {
		return &os.PathError{Op: "create", Path: m.Path, Err: err}
	}
	return b.finishNode(dir, base, m, uid, gid)
}

func nodeMode(t Type) uint32 {
	switch t {
	case Char:
		return unix.S_IFCHR
	case Block:
		return unix.S_IFBLK
	default:
		return unix.S_IFIFO
	}
}

func (b *builder) ids(e *Entry) (uid, gid int, err error) {
	if b.count > 0 && (e.UID >= b.count || e.GID >= b.count) {
		return 0, 0, fmt.Errorf("%q: uid %d or gid %d are out of range %d", e.Path, e.UID, e.GID, b.count)
	}
	return int(e.UID + b.shift), int(e.GID + b.shift), nil
}

func (b *builder) link(dir int, base string, m *Merged) error {
	if err := unix.Linkat(b.root, m.Surviving, dir, base, 0); err != nil {
		return &os.LinkError{Op: "link", Old: m.Surviving, New: m.Path, Err: err}
	}
	return nil
}

func (b *builder) directory(dir int, base string, m *Merged, uid, gid int) error {
	if err := unix.Mkdirat(dir, base, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: m.Path, Err: err}
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: m.Path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	b.dirs = append(b.dirs, m.Entry)
	return b.finishDir(fd, &m.Entry, uid, gid)
}

func (b *builder) finishDir(fd int, e *Entry, uid, gid int) error {
	if err := chownMode(fd, e.Path, uid, gid, e.Mode); err != nil {
		return err
	}
	return applyXattrs(fd, e)
}

func applyXattrs(fd int, e *Entry) error {
	for _, x := range e.Xattrs {
		if err := unix.Fsetxattr(fd, x.Name, []byte(x.Value), 0); err != nil {
			return &os.PathError{Op: "setxattr " + x.Name, Path: e.Path, Err: err}
		}
	}
	return nil
}

func (b *builder) finishNode(dir int, base string, m *Merged, uid, gid int) error {
	if err := unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "lchown", Path: m.Path, Err: err}
	}
	if m.Type != Symlink {
		if err := unix.Fchmodat(dir, base, m.Mode, 0); err != nil {
			return &os.PathError{Op: "chmod", Path: m.Path, Err: err}
		}
	}
	return setTimes(dir, base, &m.Entry)
}

func setTimes(dir int, base string, e *Entry) error {
	ts := []unix.Timespec{{}, {Sec: e.Sec, Nsec: e.Nsec}}
	if err := unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: e.Path, Err: err}
	}
	return nil
}

func (b *builder) regular(dir int, base string, m *Merged, uid, gid int) error {
	from, err := b.src.open(m.Layer, m.Path)
	if err != nil {
		return err
	}
	defer closeQuietly(from)
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: m.Path, Err: err}
	}
	to := os.NewFile(uintptr(fd), m.Path)
	err = b.fill(to, from, m, uid, gid)
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return setTimes(dir, base, &m.Entry)
}

func (b *builder) fill(to, from *os.File, m *Merged, uid, gid int) error {
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err != nil {
		if b.buf == nil {
			b.buf = make([]byte, 128<<10)
		}
		if err := writeContent(to, from, m.Size, b.buf); err != nil {
			return err
		}
	}
	if err := chownMode(int(to.Fd()), m.Path, uid, gid, m.Mode); err != nil {
		return err
	}
	return applyXattrs(int(to.Fd()), &m.Entry)
}

// finish sets the times of the directories, which creating things in them changed.
func (b *builder) finish() error {
	for i := len(b.dirs) - 1; i >= 0; i-- {
		e := &b.dirs[i]
		fd, err := unix.Openat2(b.root, e.Path, &unix.OpenHow{
			Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath,
		})
		if err != nil {
			return &os.PathError{Op: "open", Path: e.Path, Err: err}
		}
		ts := []unix.Timespec{{}, {Sec: e.Sec, Nsec: e.Nsec}}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd, ""), ts, 0)
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		if err != nil {
			return &os.PathError{Op: "utimensat", Path: e.Path, Err: err}
		}
	}
	return nil
}
