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

	// UserNS, if set, is a user namespace to whose owners all layers are mapped
	// (idmapped mounts; Linux 5.19 for overlays of them). Upper and Work are then
	// below one directory of their own, and all layers' paths are absolute. The calling thread has the file
	// system IDs of the namespace's root and all capabilities: what the kernel
	// does in the upper layer it does as who mounts.
	UserNS *os.File
}

// Do mounts the overlay in the mount namespace of the calling thread.
//
// The kernel takes mount options of less than one page. Longer lists of lower
// directories are named by descriptor numbers relative to /proc/self/fd, for
// which the calling thread changes its directory and back: the caller must have
// locked the goroutine to its thread and unshared CLONE_FS (unshare(CLONE_NEWNS)
// implies it). The same goes for UserNS, for which the calling thread is also in
// a mount namespace from which nothing propagates.
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
	return m.checkMapped()
}

func (m Mount) flags() uintptr {
	if m.Upper == "" {
		return unix.MS_RDONLY
	}
	return 0
}

func (m Mount) do() error {
	if m.UserNS != nil {
		return m.doMapped()
	}
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
func (m Mount) doByDescriptor() error {
	fds := &descriptors{}
	defer fds.close()
	open := func(path string, flags int) (string, error) {
		fd, err := fds.open(path, flags)
		return strconv.Itoa(fd), err
	}
	back, err := fds.open(".", unix.O_RDONLY)
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
	return errors.Join(err, unix.Fchdir(back))
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
