// SPDX-License-Identifier: Apache-2.0

package approot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// PodAPI is what an app sees of the pod it is in: its kernel file systems,
// devices and names. All sources are paths of the pod.
type PodAPI struct {
	KeepSys       bool // a volume covers /sys or a path below
	WholeSys      bool // with what is mounted below the pod's /sys
	ReadOnlyPaths []string
	HiddenPaths   []string
	// HiddenDir and HiddenFile lie over hidden paths; nobody can read them.
	HiddenDir, HiddenFile string
}

// podDirs are made if missing, parents first (spec stage1-flavors.md A.9).
var podDirs = [...]string{"/etc", "/run", "/run/systemd", "/run/systemd/journal"}

// podNodes are bound one by one: all of /dev would hide what the image has there.
var podNodes = [...]string{"null", "zero", "full", "random", "urandom", "tty", "net/tun", "console"}

// podFiles are bound where the pod has them.
var podFiles = [...]struct{ source, target string }{
	{"/etc/rkt-resolv.conf", "/etc/resolv.conf"},
	{"/etc/rkt-hosts", "/etc/hosts"},
	{"/proc/sys/kernel/hostname", "/etc/hostname"},
	{"/run/systemd/notify", "/run/systemd/notify"},
}

// podLinks are made where there is nothing.
var podLinks = [...]struct{ name, target string }{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
	{"/dev/log", "/run/systemd/journal/dev-log"},
}

// NotDirError says that an image has something else where a kernel file system
// has to be mounted. Following a link there would mount it elsewhere and leave
// a forged one in its place.
type NotDirError struct{ Path string }

func (e *NotDirError) Error() string {
	return fmt.Sprintf("the image has no directory but something else at %s, where rkt mounts what every app needs", e.Path)
}

// Pod mounts the pod's file systems and names. Volumes are mounted already.
func (t *Tree) Pod(a PodAPI) error {
	steps := []func(PodAPI) error{t.podTop, t.podDev, t.podNames, t.mask}
	for _, step := range steps {
		if err := step(a); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) podTop(a PodAPI) error {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := t.realDir(dir); err != nil {
			return err
		}
	}
	for _, dir := range podDirs {
		if err := t.makeDir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := t.makeDir("/tmp", 0o1777); err != nil {
		return err
	}
	if err := t.bind("/proc", "/proc", true, false); err != nil {
		return err
	}
	if a.KeepSys {
		return nil
	}
	return t.bind("/sys", "/sys", a.WholeSys, false)
}

// realDir makes sure of a directory that is no link.
func (t *Tree) realDir(dir string) error {
	st, err := t.root.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return t.makeDir(dir, 0o755)
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return &NotDirError{Path: dir}
	}
	return nil
}

// makeDir makes a directory if there is nothing; what is there keeps its mode.
func (t *Tree) makeDir(dir string, mode uint32) error {
	_, err := t.root.Lstat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := t.root.MkdirAll(dir)
	if err != nil {
		return readOnlyIsFine(err)
	}
	defer func() { _ = f.Close() }()
	if mode == 0o755 {
		return nil
	}
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode)
}

// readOnlyIsFine: what is missing in a read-only volume stays missing.
func readOnlyIsFine(err error) error {
	if errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}

func (t *Tree) podDev(PodAPI) error {
	own, err := t.onRoot("/dev")
	if err != nil {
		return err
	}
	for _, name := range []string{"net", "pts", "shm"} {
		there, err := t.devDir("/dev/"+name, own)
		if err != nil {
			return err
		}
		if !there || name == "net" {
			continue
		}
		if err := readOnlyIsFine(t.bind("/dev/"+name, "/dev/"+name, true, false)); err != nil {
			return err
		}
	}
	for _, name := range podNodes {
		if err := t.devNode("/dev/"+name, own); err != nil {
			return fmt.Errorf("device /dev/%s: %w", name, err)
		}
	}
	if !own {
		return nil // what is in a volume is not ours to make
	}
	if err := t.ptmx(); err != nil {
		return err
	}
	for _, l := range podLinks {
		if err := t.link(l.name, l.target); err != nil {
			return err
		}
	}
	return nil
}

// onRoot tells whether a directory is the image's own: on the mount of the
// root, not in a volume.
func (t *Tree) onRoot(dir string) (bool, error) {
	root, err := mountID(t.root.FD())
	if err != nil {
		return false, err
	}
	f, err := t.root.Open(dir, unix.O_PATH, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	id, err := mountID(int(f.Fd()))
	return id == root, err
}

func mountID(fd int) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, fmt.Errorf("statx: %w", err)
	}
	return st.Mnt_id, nil
}

// devDir makes sure of a directory in /dev, unless that is a volume's. Images
// ship dangling links there.
func (t *Tree) devDir(dir string, own bool) (there bool, err error) {
	st, err := t.root.Lstat(dir)
	isDir := err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir || !own {
		return isDir, nil
	}
	if err == nil {
		if err := t.remove(dir); err != nil {
			return false, err
		}
	}
	return true, t.makeDir(dir, 0o755)
}

// devNode binds a node of the pod, if it has it.
func (t *Tree) devNode(node string, own bool) error {
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return nil
	}
	have, err := t.root.Lstat(node)
	kind := have.Mode & unix.S_IFMT
	switch {
	case errors.Is(err, fs.ErrNotExist) && !own:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && kind != unix.S_IFREG && kind != unix.S_IFCHR:
		if !own {
			return nil
		}
		if err := t.remove(node); err != nil {
			return err
		}
	}
	return t.bind(node, node, false, false)
}

// ptmx: a node of the image's own that everybody may use stays, everything
// else becomes a link to the pod's.
func (t *Tree) ptmx() error {
	const name, worldRW = "/dev/ptmx", 0o006
	st, err := t.root.Lstat(name)
	if err == nil {
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(5, 2) && st.Mode&worldRW == worldRW {
			return nil
		}
		if err := t.remove(name); err != nil {
			return err
		}
	}
	return t.link(name, "/dev/pts/ptmx")
}

// remove unlinks a name of the image's own that is no directory.
func (t *Tree) remove(name string) error {
	return t.inParent(name, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
}

// link makes a symbolic link where there is nothing.
func (t *Tree) link(name, target string) error {
	err := t.inParent(name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// inParent works on a name in a directory of the root that is no link itself.
func (t *Tree) inParent(name string, do func(dir int, base string) error) error {
	dir, base := splitPath(name)
	parent, err := t.root.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if err := do(int(parent.Fd()), base); err != nil {
		return &os.PathError{Op: "replace", Path: name, Err: err}
	}
	return nil
}

func splitPath(name string) (dir, base string) {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[:i+1], name[i+1:]
		}
	}
	return ".", name
}

// podNames provides the pod's journal and the files that names are looked up in.
func (t *Tree) podNames(PodAPI) error {
	if exists("/run/systemd/journal") {
		if err := readOnlyIsFine(t.bind("/run/systemd/journal", "/run/systemd/journal", true, false)); err != nil {
			return err
		}
	}
	for _, f := range podFiles {
		if err := t.podFile(f.source, f.target); err != nil {
			return err
		}
	}
	if exists("/etc/rkt-hosts") {
		return nil
	}
	if _, err := t.root.Stat("/etc/hosts"); err == nil {
		return nil // the image's own, or a volume's
	}
	return t.podFile("/etc/hosts-fallback", "/etc/hosts")
}

func (t *Tree) podFile(source, target string) error {
	if !exists(source) {
		return nil
	}
	return readOnlyIsFine(t.bind(source, target, false, false))
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// mask closes paths to the app, where they exist.
func (t *Tree) mask(a PodAPI) error {
	for _, name := range a.ReadOnlyPaths {
		if err := t.overlayPath(name, func(at *os.File, _ bool) (*Source, error) {
			s, err := cloneAt(at)
			if err != nil {
				return nil, err
			}
			return s, s.ReadOnly()
		}); err != nil {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	for _, name := range a.HiddenPaths {
		if err := t.overlayPath(name, func(_ *os.File, dir bool) (*Source, error) {
			source := a.HiddenFile
			if dir {
				source = a.HiddenDir
			}
			s, err := Clone(source, false)
			if err != nil {
				return nil, err
			}
			return s, s.ReadOnly()
		}); err != nil {
			return fmt.Errorf("hide %s: %w", name, err)
		}
	}
	return nil
}

// overlayPath mounts on a path exactly as it is, if it is there.
func (t *Tree) overlayPath(name string, source func(at *os.File, dir bool) (*Source, error)) error {
	at, err := t.root.Open(name, unix.O_PATH, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(at.Fd()), &st); err != nil {
		return err
	}
	s, err := source(at, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if s != nil {
		defer func() { _ = s.Close() }()
	}
	if err != nil {
		return err
	}
	return unix.MoveMount(int(s.f.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

func cloneAt(at *os.File) (*Source, error) {
	fd, err := unix.OpenTree(int(at.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("copy mount: %w", err)
	}
	return newSource(fd, at.Name())
}
