// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile caps what is read of any file in a pod directory.
const maxFile = 16 << 20

// openBeneath opens rel below the pod directory. No component may be a
// symbolic link, so nothing inside the pod can lead the open elsewhere.
func (p *Pod) openBeneath(rel string, flags int) (int, error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(p.lock.FD(), rel, how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENOSYS): // before Linux 5.6
			fd, err = openByComponents(p.lock.FD(), rel, flags)
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: filepath.Join(p.Path(), rel), Err: err}
		}
		return fd, nil
	}
}

func openByComponents(dirfd int, rel string, flags int) (int, error) {
	parts := strings.Split(rel, "/")
	at := dirfd
	for i, part := range parts {
		f := unix.O_PATH | unix.O_DIRECTORY
		if i == len(parts)-1 {
			f = flags
		}
		if part == ".." || part == "" {
			return -1, unix.EINVAL
		}
		fd, err := unix.Openat(at, part, f|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if at != dirfd {
			_ = unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
	}
	return at, nil
}

// readFile returns the content of the regular file rel.
func (p *Pod) readFile(rel string) ([]byte, error) {
	data, _, err := p.readStat(rel)
	return data, err
}

// readStat is readFile with the file's modification time.
func (p *Pod) readStat(rel string) ([]byte, time.Time, error) {
	// O_NONBLOCK: a FIFO planted by the pod must not hang the reader.
	fd, err := p.openBeneath(rel, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, time.Time{}, &os.PathError{Op: "stat", Path: rel, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, time.Time{}, fmt.Errorf("%s: not a regular file", rel)
	}
	if st.Size > maxFile {
		return nil, time.Time{}, fmt.Errorf("%s: larger than %d bytes", rel, maxFile)
	}
	data, err := readAll(fd, st.Size)
	if err != nil {
		return nil, time.Time{}, &os.PathError{Op: "read", Path: rel, Err: err}
	}
	return data, time.Unix(st.Mtim.Unix()), nil
}

// readAll reads to the end of a file of the given size, in one call unless the
// file grows meanwhile. It uses the descriptor directly: listing thousands of
// pods through os.File would register each file with the poller.
func readAll(fd int, size int64) ([]byte, error) {
	buf := make([]byte, 0, size+1)
	for len(buf) <= maxFile {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		short := n < cap(buf)-len(buf)
		buf = buf[:len(buf)+n]
		if short { // read(2) of a regular file is short only at its end
			return buf, nil
		}
	}
	return nil, io.ErrShortBuffer
}

// mtime returns the modification time of rel, which is not followed.
func (p *Pod) mtime(rel string) (time.Time, error) {
	st, err := p.stat(rel)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(st.Mtim.Unix()), nil
}

// stat looks at a direct entry of the pod directory.
func (p *Pod) stat(name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(p.lock.FD(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, &os.PathError{Op: "stat", Path: filepath.Join(p.Path(), name), Err: err}
	}
	return &st, nil
}

// has tells whether the pod directory has a direct entry of that name.
func (p *Pod) has(name string) (bool, error) {
	_, err := p.stat(name)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	}
	return false, err
}

// isAbsent tells whether err means that a file is not there, or went away
// under the reader because the pod is being deleted.
func isAbsent(err error) bool { return errors.Is(err, os.ErrNotExist) }

// OpenDir opens a directory below the pod directory; no component may be a
// symbolic link.
func (p *Pod) OpenDir(rel string) (*os.File, error) {
	fd, err := p.openBeneath(filepath.Clean(rel), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), rel), nil
}
