// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/inroot"
)

// OpenRoot opens the root file system of an app and makes sure that it is a
// mount point of its own.
func OpenRoot(dir string) (*inroot.Root, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		if err := bindOntoItself(dir); err != nil {
			return nil, err
		}
	}
	return inroot.Open(dir) // after the mount: the path leads to its top
}

func bindOntoItself(dir string) error {
	s, err := Clone(dir, true)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	err = unix.MoveMount(int(s.f.Fd()), "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("make %s a mount point: %w", dir, err)
	}
	return nil
}

// API mounts the host's devices and kernel file systems, and an empty /tmp.
// A volume at or below /sys keeps the host's away.
func API(root *inroot.Root, plan appmount.Plan) error {
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if dir == "/sys" && plan.Below(dir) {
			continue
		}
		if err := bind(root, dir, dir, true, false); err != nil {
			return err
		}
	}
	s, err := Tmpfs("1777")
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return s.Put(root, "/tmp")
}

// Volumes carries out the plan. shared is the directory of the pod for empty
// volumes; note gets a line for each volume that is filled from the image.
func Volumes(root *inroot.Root, plan appmount.Plan, shared string, note func(string)) error {
	for _, m := range plan.Mounts {
		source := m.Source
		if m.Kind == appmount.Empty {
			var err error
			if source, err = emptyVolume(root, m, shared, note); err != nil {
				return fmt.Errorf("volume %s: %w", m.Volume, err)
			}
		}
		if err := bind(root, source, m.Target, m.Recursive, m.ReadOnly); err != nil {
			return fmt.Errorf("volume %s: %w", m.Volume, err)
		}
	}
	return nil
}

// emptyVolume makes the directory of an empty volume, once.
func emptyVolume(root *inroot.Root, m appmount.Mount, shared string, note func(string)) (string, error) {
	if err := os.Mkdir(shared, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	dir := shared + "/" + m.Volume.String()
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	if err := os.Chown(dir, m.UID, m.GID); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, m.Mode); err != nil {
		return "", err
	}
	if m.CopyUp {
		note("Docker converted image, initializing implicit volume with data contained at the mount point " +
			strconv.Quote(m.Target) + ".")
		return dir, copyUp(root, m.Target, dir)
	}
	return dir, nil
}

// DNS is where resolv.conf and hosts come from.
type DNS struct {
	Resolv, Hosts         string // modes of package entrypoint
	ResolvFile, HostsFile string // what stage0 wrote
}

// defaultHosts is /etc/hosts of an image that has none.
const defaultHosts = "127.0.0.1 localhost localdomain\n"

// Names provides resolv.conf and hosts. Files are bound, not copied: without
// overlay a copy would change the tree of the image.
func Names(root *inroot.Root, d DNS) error {
	var err error
	switch d.Resolv {
	case entrypoint.ModeHost:
		err = bind(root, "/etc/resolv.conf", "/etc/resolv.conf", false, true)
	case entrypoint.ModeStage0:
		err = bindIfThere(root, d.ResolvFile, "/etc/resolv.conf")
	}
	if err != nil {
		return err
	}
	switch d.Hosts {
	case entrypoint.ModeHost:
		return bind(root, "/etc/hosts", "/etc/hosts", false, true)
	case entrypoint.ModeStage0:
		return bindIfThere(root, d.HostsFile, "/etc/hosts")
	}
	if _, err := root.Stat("/etc/hosts"); errors.Is(err, fs.ErrNotExist) {
		return root.WriteNew("/etc/hosts", []byte(defaultHosts), 0o644)
	}
	return nil
}

func bindIfThere(root *inroot.Root, source, target string) error {
	err := bind(root, source, target, false, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadOnlyRoot makes the root read-only, but not the mounts on it.
func ReadOnlyRoot(root *inroot.Root) error {
	err := unix.MountSetattr(root.FD(), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return nil
}
