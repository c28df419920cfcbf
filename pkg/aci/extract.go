// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ExtractOptions bound what Extract writes; zero fields mean no bound.
type ExtractOptions struct {
	// MaxBytes is for the sizes of all files together.
	MaxBytes int64
}

// Extracted says what Extract made.
type Extracted struct {
	// Manifest is the manifest as it is stored.
	Manifest []byte
	// Skipped counts the device nodes, which only root can make.
	Skipped int
}

// Extract validates the archive r, compressed or not, and unpacks its rootfs
// into the empty directory dst, for callers who are not root: everything belongs to the
// caller, device nodes are left out, files lose their set-user-ID and set-group-ID bits and
// security.capability, which would give away the caller's rights. Root uses package layer. On
// error dst holds garbage that the caller removes; nothing outside of dst is touched.
func Extract(ctx context.Context, r io.Reader, dst string, o ExtractOptions) (*Extracted, error) {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return nil, err
	}
	x := &extractor{ctx: ctx, root: root, left: o.MaxBytes, limited: o.MaxBytes > 0, buffer: make([]byte, copyBufferSize)}
	v := validator{seen: map[nameSum]kind{}, fn: x.entry, raw: func(raw []byte) { x.result.Manifest = raw }}
	plain, _, err := Open(r)
	if err == nil {
		_, err = v.run(plain)
		err = errors.Join(err, plain.Close())
	}
	if err == nil {
		err = x.finishDirectories()
	}
	if err := errors.Join(err, x.closeParent(), root.Close()); err != nil {
		return nil, err
	}
	return &x.result, nil
}

// extractor relies on the validator: a name comes once and never below what is
// not a directory, so that no link in dst can be in the way. os.Root sees to it that an
// error there would still not lead out of dst.
type extractor struct {
	ctx     context.Context // entry is a callback
	root    *os.Root
	limited bool
	left    int64
	buffer  []byte
	result  Extracted
	// dirs get mode and times at the end: both would be in the way before.
	dirs []*tar.Header
	// parent is the directory used last.
	parent     *os.File
	parentName string
}

func (x *extractor) entry(name string, hdr *tar.Header, content io.Reader) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	if err := x.extract(name, hdr, content); err != nil {
		return fmt.Errorf("could not extract file %q: %w", hdr.Name, err)
	}
	return nil
}

func (x *extractor) extract(name string, hdr *tar.Header, content io.Reader) error {
	if name == RootFSName {
		x.addDirectory("", hdr)
		return nil
	}
	name = strings.TrimPrefix(name, RootFSName+"/")
	if err := x.enter(path.Dir(name)); err != nil {
		return err
	}
	base, dir := path.Base(name), int(x.parent.Fd())
	switch hdr.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(dir, base, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		x.addDirectory(name, hdr)
		return nil
	case tar.TypeLink:
		return x.hardLink(hdr.Linkname, name)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(hdr.Linkname, dir, base); err != nil {
			return err
		}
		return x.setTimes(base, hdr)
	case tar.TypeFifo:
		if err := unix.Mknodat(dir, base, unix.S_IFIFO|uint32(hdr.Mode)&0o777, 0); err != nil {
			return err
		}
		return x.setTimes(base, hdr)
	case tar.TypeChar, tar.TypeBlock:
		x.result.Skipped++
		return nil
	}
	return x.regular(base, hdr, content)
}

// enter makes x.parent the directory called name, creating what is missing.
func (x *extractor) enter(name string) error {
	if x.parent != nil && x.parentName == name {
		return nil
	}
	if err := x.closeParent(); err != nil {
		return err
	}
	f, err := x.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := x.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		f, err = x.root.Open(name)
	}
	if err != nil {
		return err
	}
	x.parent, x.parentName = f, name
	return nil
}

func (x *extractor) closeParent() error {
	if x.parent == nil {
		return nil
	}
	err := x.parent.Close()
	x.parent = nil
	return err
}

func (x *extractor) addDirectory(name string, hdr *tar.Header) {
	dir := *hdr
	dir.Name = name
	x.dirs = append(x.dirs, &dir)
}

func (x *extractor) hardLink(linkname, name string) error {
	target, err := CleanName(linkname)
	if err != nil {
		return err
	}
	target = strings.TrimPrefix(target, RootFSName+"/")
	info, err := x.root.Lstat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("hard link to %q, which is not a regular file", linkname)
	}
	return x.root.Link(target, name)
}

func (x *extractor) regular(base string, hdr *tar.Header, content io.Reader) error {
	if x.limited {
		if hdr.Size > x.left {
			return errors.New("archive has more unpacked bytes than the limit")
		}
		x.left -= hdr.Size
	}
	fd, err := unix.Openat(int(x.parent.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	err = x.fill(f, hdr, content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return x.setTimes(base, hdr)
}

func (x *extractor) fill(f *os.File, hdr *tar.Header, content io.Reader) error {
	for left := hdr.Size; left > 0; {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(content, x.buffer[:min(left, int64(len(x.buffer)))])
		if err != nil {
			return err
		}
		if err := writeSparsely(f, x.buffer[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	// Also makes a hole at the end part of the file.
	if err := f.Truncate(hdr.Size); err != nil {
		return err
	}
	if err := setUserXattrs(f, hdr); err != nil {
		return err
	}
	return f.Chmod(fs.FileMode(hdr.Mode & 0o777))
}

// writeSparsely leaves a hole for a buffer of zeros.
func writeSparsely(f *os.File, p []byte) error {
	for _, c := range p {
		if c != 0 {
			_, err := f.Write(p)
			return err
		}
	}
	_, err := f.Seek(int64(len(p)), io.SeekCurrent)
	return err
}

func setUserXattrs(f *os.File, hdr *tar.Header) error {
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok || !strings.HasPrefix(name, "user.") {
			continue
		}
		err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set extended attribute %q: %w", name, err)
		}
	}
	return nil
}

// setTimes sets the times of base in x.parent, or of a link itself.
func (x *extractor) setTimes(base string, hdr *tar.Header) error {
	times := []unix.Timespec{timespec(hdr.AccessTime), timespec(hdr.ModTime)}
	return unix.UtimesNanoAt(int(x.parent.Fd()), base, times, unix.AT_SYMLINK_NOFOLLOW)
}

// timespec takes an absent time for the epoch.
func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// finishDirectories gives directories their mode and times, children before
// their parents, which may turn out to be closed to the caller.
func (x *extractor) finishDirectories() error {
	slices.SortFunc(x.dirs, func(a, b *tar.Header) int { return strings.Compare(b.Name, a.Name) })
	for _, hdr := range x.dirs {
		if err := x.finishDirectory(hdr); err != nil {
			return fmt.Errorf("could not extract file %q: %w", hdr.Name, err)
		}
	}
	return nil
}

func (x *extractor) finishDirectory(hdr *tar.Header) error {
	f, err := x.root.Open(path.Clean(hdr.Name))
	if err != nil {
		return err
	}
	mode := fs.FileMode(hdr.Mode & 0o777)
	if hdr.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	times := []unix.Timespec{timespec(hdr.AccessTime), timespec(hdr.ModTime)}
	err = f.Chmod(mode)
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), times, 0)
	}
	return errors.Join(err, f.Close())
}
