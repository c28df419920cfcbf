// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// filesystem is the part of the kernel's control file system this package
// uses; tests put a model of it in its place.
type filesystem interface {
	mkdir(dir string) error
	rmdir(dir string) error
	// children lists the directories in a directory.
	children(dir string) ([]string, error)
	read(file string) (string, error)
	write(file, value string) error
}

type osFS struct{}

func (osFS) mkdir(dir string) error { return os.Mkdir(dir, 0o755) }

func (osFS) rmdir(dir string) error { return unix.Rmdir(dir) }

func (osFS) children(dir string) (all []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, path.Join(dir, e.Name()))
		}
	}
	return all, err
}

func (osFS) read(file string) (string, error) {
	data, err := os.ReadFile(file)
	return strings.TrimSpace(string(data)), err
}

// write does not create and does not truncate: control files exist or not.
func (osFS) write(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	_, err = unix.Write(fd, []byte(value))
	_ = unix.Close(fd)
	if err != nil {
		return &os.PathError{Op: "write " + value + " to", Path: file, Err: err}
	}
	return nil
}
