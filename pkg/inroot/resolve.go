// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may lead through.
const maxLinks = 255

// Resolve returns the absolute, clean path that name leads to inside the root,
// without any symbolic link in it. Components that do not exist are taken as
// they are (readlink -m). More than 255 links are ELOOP.
func (r *Root) Resolve(name string) (string, error) {
	w := walker{root: r.FD(), todo: components(name)}
	defer w.close()
	for len(w.todo) > 0 {
		if err := w.step(); err != nil {
			return "", &os.PathError{Op: "resolve", Path: name, Err: err}
		}
	}
	return "/" + path.Join(w.names...), nil
}

func components(name string) []string {
	return strings.FieldsFunc(name, func(c rune) bool { return c == '/' })
}

// walker holds where a path has led so far: names[i] was reached through
// fds[i]; the names behind len(fds) do not exist, or stand below something
// that is not a directory.
type walker struct {
	root  int
	fds   []int
	names []string
	todo  []string
	links int
}

func (w *walker) step() error {
	c := w.todo[0]
	w.todo = w.todo[1:]
	switch {
	case c == ".":
		return nil
	case c == "..":
		w.pop()
		return nil
	case len(w.names) > len(w.fds):
		w.names = append(w.names, c)
		return nil
	}
	fd, err := unix.Openat(w.top(), c, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		w.names = append(w.names, c)
		return nil
	}
	if err != nil {
		return err
	}
	target, err := readlink(fd)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // not a link
		w.names, w.fds = append(w.names, c), append(w.fds, fd)
		return nil
	}
	_ = unix.Close(fd)
	if err != nil {
		return err
	}
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if strings.HasPrefix(target, "/") {
		w.close()
		w.names = nil
	}
	w.todo = append(components(target), w.todo...)
	return nil
}

func (w *walker) top() int {
	if len(w.fds) == 0 {
		return w.root
	}
	return w.fds[len(w.fds)-1]
}

// pop goes one up; the directory above is the one the walk came from,
// whatever has been renamed since.
func (w *walker) pop() {
	if len(w.names) == 0 {
		return
	}
	if len(w.fds) == len(w.names) {
		_ = unix.Close(w.top())
		w.fds = w.fds[:len(w.fds)-1]
	}
	w.names = w.names[:len(w.names)-1]
}

func (w *walker) close() {
	for _, fd := range w.fds {
		_ = unix.Close(fd)
	}
	w.fds = nil
}

// readlink reads the link that an O_PATH descriptor refers to: EINVAL or
// ENOENT if it is something else (readlinkat(2), empty path).
func readlink(fd int) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
