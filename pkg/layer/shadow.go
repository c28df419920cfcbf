// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// An unprivileged unpack puts only directories and file contents on disk. All
// metadata stay in Result.shadow, from which the index is written.

// shadowOf makes the index entry a header asks for.
func shadowOf(at string, h *tar.Header, l Limits) (*Entry, error) {
	uid, gid, err := owner(h)
	if err != nil {
		return nil, err
	}
	xattrs, err := xattrsOf(h, l)
	if err != nil {
		return nil, err
	}
	e := &Entry{
		Path: at, Mode: modeOf(h), UID: uint32(uid), GID: uint32(gid), Xattrs: xattrs,
		Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond()),
	}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Type = Directory
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Type, e.Size = Regular, h.Size
	case tar.TypeSymlink:
		e.Type, e.Target, e.Mode = Symlink, h.Linkname, 0o777
	case tar.TypeFifo:
		e.Type = FIFO
	case tar.TypeChar, tar.TypeBlock:
		e.Type = Block
		if h.Typeflag == tar.TypeChar {
			e.Type = Char
		}
		if e.Major, e.Minor, err = deviceOf(h); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unsupported type: %v", h.Typeflag)
	}
	return e, nil
}

func (u *unpacker) shadowEntry(base, at string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeLink {
		return u.shadowLink(base, at, h)
	}
	e, err := shadowOf(at, h, u.o.Limits)
	if err != nil {
		return err
	}
	if e.Type == Regular {
		if err := u.shadowContent(base, at, h, content); err != nil {
			return err
		}
	}
	u.res.shadow[at] = e
	return nil
}

func (u *unpacker) shadowContent(base, at string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(u.parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: at, Err: err}
	}
	f := os.NewFile(uintptr(fd), at)
	if err := u.freeSpace(h.Size); err != nil {
		_ = f.Close()
		return err
	}
	if err := writeContent(f, content, h.Size, u.buf); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// shadowLink shares the entry and, where there is one, the file of its target.
func (u *unpacker) shadowLink(base, at string, h *tar.Header) error {
	target, err := cleanName(h.Linkname, u.o.Limits.Path)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	e := u.res.shadow[target]
	if e == nil || e.Type == Directory || e.Type == Whiteout {
		return fmt.Errorf("hard link to %q, which is not a file of this layer", h.Linkname)
	}
	if e.Type == Regular {
		if err := unix.Linkat(u.root, target, u.parent, base, 0); err != nil {
			return &os.LinkError{Op: "link", Old: h.Linkname, New: at, Err: err}
		}
	}
	// One inode number per group of names is all the index needs.
	if e.Ino == 0 {
		e.Ino = uint64(len(u.res.shadow)) + 1
	}
	twin := *e
	twin.Path = at
	u.res.shadow[at] = &twin
	return nil
}
