// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Errors that callers test for.
var (
	// ErrNotRegular is returned for something else than a regular file.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge is returned by ReadFile for a file above the limit.
	ErrTooLarge = errors.New("file is too large")
)

// resolve keeps a lookup inside the root.
const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// Root is a directory that plays the part of "/". It is safe for concurrent
// use; the owner closes it.
type Root struct{ f *os.File }

// Open opens a directory of the host as root. The path itself is trusted.
func Open(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{f: os.NewFile(uintptr(fd), dir)}, nil
}

// FromFile takes over an open directory.
func FromFile(f *os.File) *Root { return &Root{f: f} }

// Close ends the use of the root.
func (r *Root) Close() error { return r.f.Close() }

// File is the open directory; it stays owned by the Root.
func (r *Root) File() *os.File { return r.f }

// FD is the descriptor; it stays owned by the Root.
func (r *Root) FD() int { return int(r.f.Fd()) }

// Open opens name with the flags of openat2(2); O_CLOEXEC is added, and mode
// counts with O_CREAT only. Links are followed inside the root, the last one
// too unless flags has O_NOFOLLOW.
func (r *Root) Open(name string, flags int, mode uint32) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	for {
		fd, err := unix.Openat2(r.FD(), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		// EAGAIN: a rename elsewhere raced with a ".." of the path (openat2(2)).
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
			continue
		default:
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// OpenRegular opens a regular file for reading. It does not block on a FIFO
// and does not touch a device.
func (r *Root) OpenRegular(name string) (*os.File, error) {
	st, err := r.Stat(name)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &os.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	// A FIFO or device put there meanwhile: O_NONBLOCK returns at once, and
	// the check is repeated on what was opened.
	f, err := r.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		_ = f.Close()
		return nil, errors.Join(&os.PathError{Op: "open", Path: name, Err: ErrNotRegular}, err)
	}
	return f, nil
}

// ReadFile reads a regular file of at most limit bytes. One of size 0 is not
// read: it has nothing, or the kernel makes it up, and reading /proc/kmsg
// waits for messages and takes them from those they are meant for.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch size := fi.Size(); {
	case size == 0:
		return nil, nil
	case size > limit:
		return nil, &os.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, &os.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}
	return data, nil
}

// Stat describes what name leads to; the last link is followed, too.
func (r *Root) Stat(name string) (unix.Stat_t, error) { return r.stat(name, 0) }

// Lstat describes name itself.
func (r *Root) Lstat(name string) (unix.Stat_t, error) { return r.stat(name, unix.O_NOFOLLOW) }

func (r *Root) stat(name string, flags int) (unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := r.Open(name, unix.O_PATH|flags, 0)
	if err != nil {
		return st, err
	}
	defer func() { _ = f.Close() }()
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}
