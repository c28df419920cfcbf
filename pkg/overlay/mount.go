// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxLowers is how many lower directories the kernel stacks (OVL_MAX_STACK).
const MaxLowers = 500

// Mount describes an overlay mount.
type Mount struct {
	Lowers  []string // top first; at least one
	Upper   string   // writable layer; empty for a read-only overlay of two or more lowers
	Work    string   // with Upper
	Target  string
	Context string // SELinux mount label, may be empty
}

// Do mounts the overlay in the mount namespace of the calling thread.
//
// The kernel takes mount options of less than one page. Longer lists of lower
// directories are named by descriptor numbers relative to /proc/self/fd, for
// which the calling thread changes its directory and back: the caller must have
// locked the goroutine to its thread and unshared CLONE_FS (unshare(CLONE_NEWNS)
// implies it).
func (m Mount) Do() error {
	if err := m.check(); err != nil {
		return err
	}
	err := m.do()
	if err != nil {
		return fmt.Errorf("mount overlay with %d lower directories on %s: %w", len(m.Lowers), m.Target, err)
	}
	return nil
}

func (m Mount) check() error {
	switch {
	case len(m.Lowers) == 0 || (m.Upper == "" && len(m.Lowers) < 2):
		return fmt.Errorf("mount overlay on %s: too few directories", m.Target)
	case len(m.Lowers) > MaxLowers:
		return fmt.Errorf("mount overlay on %s: %d lower directories, the kernel accepts %d (try --no-overlay)",
			m.Target, len(m.Lowers), MaxLowers)
	}
	return nil
}

func (m Mount) flags() uintptr {
	if m.Upper == "" {
		return unix.MS_RDONLY
	}
	return 0
}

func (m Mount) do() error {
	data := m.options()
	if len(data) < os.Getpagesize() {
		return unix.Mount("overlay", m.Target, "overlay", m.flags(), data)
	}
	return m.doByDescriptor()
}

// options returns the mount options with plain paths.
func (m Mount) options() string {
	lowers := make([]string, len(m.Lowers))
	for i, l := range m.Lowers {
		lowers[i] = escape(l)
	}
	return m.format(lowers, escape(m.Upper), escape(m.Work))
}

func (m Mount) format(lowers []string, upper, work string) string {
	var b strings.Builder
	b.WriteString("lowerdir=" + strings.Join(lowers, ":"))
	if upper != "" {
		b.WriteString(",upperdir=" + upper + ",workdir=" + work)
	}
	if m.Context != "" {
		b.WriteString(",context=" + strconv.Quote(m.Context))
	}
	return b.String()
}

// escape protects what separates paths and options in overlay mount options.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// doByDescriptor is do for option strings that do not fit a page: 500 lower
// directories need about 2,000 bytes this way.
func (m Mount) doByDescriptor() (err error) {
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	open := func(path string, flags int) (string, error) {
		fd, err := unix.Open(path, flags|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", &os.PathError{Op: "open", Path: path, Err: err}
		}
		fds = append(fds, fd)
		return strconv.Itoa(fd), nil
	}
	back, err := open(".", unix.O_RDONLY)
	if err != nil {
		return err
	}
	target, err := open(m.Target, unix.O_PATH)
	if err != nil {
		return err
	}
	data, err := m.descriptorOptions(open)
	if err != nil {
		return err
	}
	// "self" is the process: its threads share the descriptors.
	if err := unix.Chdir("/proc/self/fd"); err != nil {
		return fmt.Errorf("chdir to /proc/self/fd: %w", err)
	}
	err = unix.Mount("overlay", target, "overlay", m.flags(), data)
	fd, _ := strconv.Atoi(back)
	return errors.Join(err, unix.Fchdir(fd))
}

func (m Mount) descriptorOptions(open func(string, int) (string, error)) (string, error) {
	lowers := make([]string, len(m.Lowers))
	var err error
	for i, l := range m.Lowers {
		if lowers[i], err = open(l, unix.O_PATH); err != nil {
			return "", err
		}
	}
	if m.Upper == "" {
		return m.format(lowers, "", ""), nil
	}
	upper, err := open(m.Upper, unix.O_PATH)
	if err != nil {
		return "", err
	}
	work, err := open(m.Work, unix.O_PATH)
	if err != nil {
		return "", err
	}
	return m.format(lowers, upper, work), nil
}
