// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Modes of what is made on the way.
const (
	dirMode = 0o755
	// The empty file below a mount is never seen; its mode is what 1.30 gave.
	fileMode = 0o700
)

// MkdirAll makes the directory that name leads to, with its parents, and
// returns an O_PATH descriptor of it. What exists keeps its mode.
func (r *Root) MkdirAll(name string) (*os.File, error) {
	resolved, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	return r.mkdirAll(resolved)
}

func (r *Root) mkdirAll(resolved string) (*os.File, error) {
	fd, err := r.mkdirs(components(resolved))
	if err != nil {
		return nil, &os.PathError{Op: "mkdir", Path: resolved, Err: err}
	}
	return os.NewFile(uintptr(fd), resolved), nil
}

// Target returns an O_PATH descriptor of what name leads to. If there is
// nothing, it makes a directory, or an empty file when dir is false, with
// parents. It does not check what is already there.
func (r *Root) Target(name string, dir bool) (*os.File, error) {
	resolved, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	return r.TargetAt(resolved, dir)
}

// TargetAt is Target for a name that Resolve has answered. It follows no link:
// whoever puts one there meanwhile gets an error, not something made elsewhere.
func (r *Root) TargetAt(resolved string, dir bool) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(r.FD(), resolved, &how)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), resolved), nil
	case !errors.Is(err, unix.ENOENT):
		return nil, &os.PathError{Op: "open", Path: resolved, Err: err}
	case dir:
		return r.mkdirAll(resolved)
	}
	return r.mkfile(resolved)
}

func (r *Root) mkfile(resolved string) (*os.File, error) {
	fd, err := r.create(resolved)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: resolved, Err: err}
	}
	return os.NewFile(uintptr(fd), resolved), nil
}

func (r *Root) create(resolved string) (int, error) {
	dir, base := path.Split(resolved)
	if base == "" {
		return -1, unix.EISDIR
	}
	parent, err := r.mkdirs(components(dir))
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(parent) }()
	err = unix.Mknodat(parent, base, unix.S_IFREG|fileMode, 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return unix.Openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// WriteNew makes the file that name leads to, with parents, and writes data
// into it. It fails with EEXIST if there is something already.
func (r *Root) WriteNew(name string, data []byte, mode uint32) error {
	resolved, err := r.Resolve(name)
	if err != nil {
		return err
	}
	dir, base := path.Split(resolved)
	parent, err := r.mkdirs(components(dir))
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(parent) }()
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), resolved)
	_, err = f.Write(data)
	return errors.Join(err, unix.Fchmod(fd, mode), f.Close())
}

// mkdirs walks down names, which hold neither links nor "..", makes what is
// missing, and returns an O_PATH descriptor of the last one. A link in the
// way was put there after Resolve: ENOTDIR.
func (r *Root) mkdirs(names []string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Openat(r.FD(), ".", flags, 0)
	if err != nil {
		return -1, err
	}
	for _, name := range names {
		next, err := unix.Openat(at, name, flags, 0)
		if errors.Is(err, unix.ENOENT) {
			next, err = mkdir(at, name, flags)
		}
		_ = unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

func mkdir(at int, name string, flags int) (int, error) {
	err := unix.Mkdirat(at, name, dirMode)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	made := err == nil
	fd, err := unix.Openat(at, name, flags, 0)
	if err != nil || !made {
		return fd, err
	}
	return fd, chmodDir(fd)
}

// chmodDir gives a directory that was just made its mode: the umask of the
// caller must not close it to the app. An O_PATH descriptor cannot be chmodded
// before fchmodat2 (Linux 6.6), and procfs may be another PID namespace's.
func chmodDir(fd int) error {
	f, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fchmod(f, dirMode), unix.Close(f))
}
