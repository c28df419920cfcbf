// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// treeOptions are what BuildOptions and PackOptions have in common.
type treeOptions struct {
	ownerRoot    bool
	latest       time.Time
	shift, count uint32
	skip         func(name string) bool
}

// inode identifies a file with several names.
type inode struct {
	major, minor uint32
	ino          uint64
}

// treeWalker adds a directory to an archive.
type treeWalker struct {
	w     *Writer
	o     treeOptions
	links map[inode]string
	// root is the device on which the walk stays.
	rootMajor, rootMinor uint32
	buffer               []byte
}

// addTree adds dir, an open directory, as rootfs.
func (w *Writer) addTree(ctx context.Context, dir *os.File, o treeOptions) error {
	t := &treeWalker{w: w, o: o, links: map[inode]string{}, buffer: make([]byte, copyBufferSize)}
	st, err := statFile(dir)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return ErrRootFSNotDir
	}
	t.rootMajor, t.rootMinor = st.Dev_major, st.Dev_minor
	hdr, err := t.header(RootFSName, st)
	if err != nil {
		return err
	}
	return t.directory(ctx, dir, hdr)
}

// directory adds hdr and then what is in dir.
func (t *treeWalker) directory(ctx context.Context, dir *os.File, hdr *tar.Header) error {
	hdr.Typeflag = tar.TypeDir
	if err := setXattrs(hdr, dir); err != nil {
		return err
	}
	if err := t.w.Add(hdr, nil); err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("read directory %q: %w", hdr.Name, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.entry(ctx, dir, name, path.Join(hdr.Name, name)); err != nil {
			return err
		}
	}
	return nil
}

func (t *treeWalker) entry(ctx context.Context, dir *os.File, base, name string) error {
	if t.o.skip != nil && t.o.skip(strings.TrimPrefix(name, RootFSName+"/")) {
		return nil
	}
	st, err := statAt(dir, base)
	if err != nil {
		return fmt.Errorf("stat %q: %w", name, err)
	}
	mounted := t.isMounted(st)
	format := st.Mode & unix.S_IFMT
	if format == unix.S_IFSOCK || mounted && format != unix.S_IFDIR {
		return nil
	}
	hdr, err := t.header(name, st)
	if err != nil {
		return err
	}
	if t.addLink(hdr, st) {
		return t.w.Add(hdr, nil)
	}
	switch format {
	case unix.S_IFDIR:
		if mounted {
			hdr.Typeflag = tar.TypeDir
			return t.w.Add(hdr, nil)
		}
		return t.open(dir, base, st, hdr, unix.O_DIRECTORY, func(f *os.File) error { return t.directory(ctx, f, hdr) })
	case unix.S_IFREG:
		return t.open(dir, base, st, hdr, unix.O_NONBLOCK, func(f *os.File) error { return t.regular(ctx, f, hdr, st) })
	case unix.S_IFLNK:
		hdr.Typeflag = tar.TypeSymlink
		if hdr.Linkname, err = readlinkAt(dir, base); err != nil {
			return fmt.Errorf("read link %q: %w", name, err)
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		hdr.Typeflag = tar.TypeChar
		if format == unix.S_IFBLK {
			hdr.Typeflag = tar.TypeBlock
		}
		hdr.Devmajor, hdr.Devminor = int64(st.Rdev_major), int64(st.Rdev_minor)
	case unix.S_IFIFO:
		hdr.Typeflag = tar.TypeFifo
	default:
		return fmt.Errorf("file %q: unsupported type: %#o", name, format)
	}
	return t.w.Add(hdr, nil)
}

// isMounted tells whether something is mounted on a name. Kernels before 5.8
// do not say so themselves; there the device differs, which for files below overlayfs means nothing.
func (t *treeWalker) isMounted(st *unix.Statx_t) bool {
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && (st.Dev_major != t.rootMajor || st.Dev_minor != t.rootMinor)
}

// addLink makes hdr a hard link if the inode was added under another name.
// Several names of one symbolic link are written as several links: a hard link
// to one is refused on extraction.
func (t *treeWalker) addLink(hdr *tar.Header, st *unix.Statx_t) bool {
	format := st.Mode & unix.S_IFMT
	if st.Nlink < 2 || format == unix.S_IFDIR || format == unix.S_IFLNK {
		return false
	}
	id := inode{st.Dev_major, st.Dev_minor, st.Ino}
	first, ok := t.links[id]
	if !ok {
		t.links[id] = hdr.Name
		return false
	}
	hdr.Typeflag, hdr.Linkname = tar.TypeLink, first
	return true
}

// open opens base, which must still be the file that st describes.
func (t *treeWalker) open(dir *os.File, base string, st *unix.Statx_t, hdr *tar.Header, flags int, fn func(*os.File) error) error {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", hdr.Name, err)
	}
	f := os.NewFile(uintptr(fd), hdr.Name)
	defer func() { _ = f.Close() }() // only read
	now, err := statFile(f)
	if err != nil {
		return err
	}
	if now.Ino != st.Ino || now.Dev_major != st.Dev_major || now.Dev_minor != st.Dev_minor || now.Mode != st.Mode {
		return fmt.Errorf("file %q was replaced while it was read", hdr.Name)
	}
	return fn(f)
}

func (t *treeWalker) regular(ctx context.Context, f *os.File, hdr *tar.Header, st *unix.Statx_t) error {
	hdr.Typeflag, hdr.Size = tar.TypeReg, int64(st.Size)
	if err := setXattrs(hdr, f); err != nil {
		return err
	}
	if isSparse(st) {
		segments, err := dataSegments(f, hdr.Size)
		if err != nil {
			return err
		}
		if len(segments) != 1 || segments[0].length != hdr.Size {
			return t.w.addSparse(ctx, hdr, f, segments, t.buffer)
		}
	}
	if err := t.w.tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("write %q: %w", hdr.Name, err)
	}
	return copyExactly(ctx, t.w.tw, f, hdr.Size, hdr.Name, t.buffer)
}

// copyExactly copies size bytes; a file that grows meanwhile is cut there.
func copyExactly(ctx context.Context, w io.Writer, r io.Reader, size int64, name string, buffer []byte) error {
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buffer[:min(size, int64(len(buffer)))])
		if err != nil {
			return fmt.Errorf("read %q: shrank while it was read: %w", name, err)
		}
		if _, err := w.Write(buffer[:n]); err != nil {
			return fmt.Errorf("write %q: %w", name, err)
		}
		size -= int64(n)
	}
	return nil
}

func (t *treeWalker) header(name string, st *unix.Statx_t) (*tar.Header, error) {
	if len(name) > maxNameLen {
		return nil, fmt.Errorf("file name of %d bytes is too long: %.100q…", len(name), name)
	}
	hdr := &tar.Header{
		Name:    name,
		Mode:    int64(st.Mode & 0o7777),
		ModTime: time.Unix(st.Mtime.Sec, 0),
	}
	if !t.o.latest.IsZero() && hdr.ModTime.After(t.o.latest) {
		hdr.ModTime = t.o.latest.Truncate(time.Second)
	}
	if t.o.ownerRoot {
		hdr.Uname, hdr.Gname = "root", "root"
		return hdr, nil
	}
	uid, err := t.unshift(st.Uid)
	if err != nil {
		return nil, fmt.Errorf("owner of %q: %w", name, err)
	}
	gid, err := t.unshift(st.Gid)
	if err != nil {
		return nil, fmt.Errorf("group of %q: %w", name, err)
	}
	hdr.Uid, hdr.Gid = uid, gid
	return hdr, nil
}

func (t *treeWalker) unshift(id uint32) (int, error) {
	if t.o.count == 0 {
		return int(id), nil
	}
	if id < t.o.shift || id-t.o.shift >= t.o.count {
		return 0, fmt.Errorf("ID %d is outside of the pod's range of %d IDs from %d", id, t.o.count, t.o.shift)
	}
	return int(id - t.o.shift), nil
}
