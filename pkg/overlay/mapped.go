// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in the temporary directory of doMapped, beside the numbers of the
// lower directories.
const (
	upperSide = "u" // the directory that has Upper and Work
	merged    = "m"
)

// doMapped mounts an overlay of idmapped copies of the layers' mounts. The kernel
// wants layers that are mounted somewhere in the namespace of the caller, so
// each copy gets a place in a tmpfs that hides the target meanwhile. The overlay
// keeps what it needs of them: the tmpfs goes with all that is on it, and the
// overlay, made there too, takes its place.
func (m Mount) doMapped() (err error) {
	fds := &descriptors{}
	defer fds.close()
	back, err := fds.open(".", unix.O_RDONLY)
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", m.Target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return &os.PathError{Op: "mount tmpfs on", Path: m.Target, Err: err}
	}
	tree := -1
	if err = unix.Chdir(m.Target); err == nil {
		tree, err = m.assemble(fds)
	}
	// Also on failure, before anything else: the directory is in the tmpfs.
	err = errors.Join(err, unix.Fchdir(back), unix.Unmount(m.Target, unix.MNT_DETACH))
	if err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, m.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount to", Path: m.Target, Err: err}
	}
	return nil
}

// assemble mounts the overlay in the working directory and returns a
// descriptor of a copy that is mounted nowhere.
func (m Mount) assemble(fds *descriptors) (tree int, err error) {
	lowers := make([]string, len(m.Lowers))
	for i, l := range m.Lowers {
		lowers[i] = strconv.Itoa(i)
		if err := m.place(fds, l, lowers[i]); err != nil {
			return -1, err
		}
	}
	var upper, work string
	if m.Upper != "" {
		dir := commonDir(m.Upper, m.Work)
		if err := m.place(fds, dir, upperSide); err != nil {
			return -1, err
		}
		upper = escape(filepath.Join(upperSide, strings.TrimPrefix(m.Upper, dir)))
		work = escape(filepath.Join(upperSide, strings.TrimPrefix(m.Work, dir)))
	}
	if err := unix.Mkdir(merged, 0o700); err != nil {
		return -1, &os.PathError{Op: "mkdir", Path: merged, Err: err}
	}
	if err := unix.Mount("overlay", merged, "overlay", m.flags(), m.format(lowers, upper, work)); err != nil {
		return -1, err
	}
	return fds.cloneMount(merged)
}

// place mounts an idmapped copy of a layer at a name in the working directory.
func (m Mount) place(fds *descriptors, layer, name string) error {
	if err := unix.Mkdir(name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	fd, err := fds.cloneMount(layer)
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(m.UserNS.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return &os.PathError{Op: "idmap", Path: layer, Err: err}
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount of", Path: layer, Err: err}
	}
	return nil
}

// commonDir is the deepest directory that has both paths, which are absolute
// and clean.
func commonDir(a, b string) string {
	for dir := filepath.Dir(a); ; dir = filepath.Dir(dir) {
		if dir == "/" || strings.HasPrefix(b, dir+"/") {
			return dir
		}
	}
}

// descriptors are closed together.
type descriptors struct{ fds []int }

func (d *descriptors) open(path string, flags int) (int, error) {
	fd, err := unix.Open(path, flags|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	d.fds = append(d.fds, fd)
	return fd, nil
}

// cloneMount copies the mount that a directory is in, from there down, without
// what is mounted below.
func (d *descriptors) cloneMount(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	d.fds = append(d.fds, fd)
	return fd, nil
}

func (d *descriptors) close() {
	for _, fd := range d.fds {
		_ = unix.Close(fd)
	}
}

// checkMapped refuses what doMapped relies on.
func (m Mount) checkMapped() error {
	if m.UserNS == nil {
		return nil
	}
	paths := m.Lowers
	if m.Upper != "" {
		paths = append(slices.Clone(paths), m.Upper, m.Work)
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return fmt.Errorf("mount overlay on %s: %q is not an absolute clean path", m.Target, p)
		}
	}
	return nil
}
