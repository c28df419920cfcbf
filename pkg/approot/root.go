// SPDX-License-Identifier: Apache-2.0

package approot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/inroot"
)

// Tree is the file system of an app while it is put together. Nothing of the
// app's runs before it is complete, so what Resolve has answered stays true.
type Tree struct {
	// IDMap, if set, changes the owners that the copy of a volume shows, for a
	// pod with a user namespace.
	IDMap func(shown *os.File) error

	root   *inroot.Root
	points []point // oldest first
}

// point is where something was mounted.
type point struct {
	path string // resolved
	host bool   // the host's own /dev, /proc or /sys
}

// Root is the root of the tree, owned by it.
func (t *Tree) Root() *inroot.Root { return t.root }

// hosts tells whether a resolved path is inside what is the host's own: the
// deepest mount above it counts, and of several on one point the newest.
func (t *Tree) hosts(resolved string) bool {
	var at point
	for _, p := range t.points {
		if len(p.path) >= len(at.path) && (resolved == p.path || strings.HasPrefix(resolved, p.path+"/")) {
			at = p
		}
	}
	return at.host
}

// HasProc tells whether a process file system is mounted in the tree already.
func (t *Tree) HasProc() bool {
	_, err := t.root.Lstat("/proc/self/status")
	return err == nil
}

// Open opens the root file system of an app and makes sure that it is a
// mount point of its own.
func Open(dir string) (*Tree, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		if err := bindOntoItself(dir); err != nil {
			return nil, err
		}
	}
	root, err := inroot.Open(dir) // after the mount: the path leads to its top
	if err != nil {
		return nil, err
	}
	return &Tree{root: root}, nil
}

// OpenCopy is Open for a directory that may be a mount which the calling
// process's user namespace has no say in: it copies it, with what is mounted
// below, so that the top of the tree is its own (mount_namespaces(7), "locked").
func OpenCopy(dir string) (*Tree, error) {
	if err := bindOntoItself(dir); err != nil {
		return nil, err
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{root: root}, nil
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
func (t *Tree) API(plan appmount.Plan) error {
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if dir == "/sys" && plan.Below(dir) {
			continue
		}
		if err := t.share(dir); err != nil {
			return err
		}
	}
	s, err := Tmpfs("1777")
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return t.Put(s, "/tmp")
}

// share mounts a directory of the host, and what is mounted below it.
func (t *Tree) share(dir string) error {
	s, err := Clone(dir, true)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	s.host = true
	return t.Put(s, dir)
}

// Volume is a volume of an app, copied where its source can be named, to be put
// where the app's tree can.
type Volume struct {
	mount  appmount.Mount
	source *Source
	fill   *os.File // of an implicit volume that was made just now
}

// Volumes are the volumes of an app.
type Volumes []*Volume

// Close drops what was not put anywhere.
func (vs Volumes) Close() {
	for _, v := range vs {
		_ = v.source.Close()
		if v.fill != nil {
			_ = v.fill.Close()
		}
	}
}

// Device is a device node that a volume is.
type Device struct {
	Block        bool
	Major, Minor uint32
	ReadOnly     bool
}

// Devices are the device nodes among the volumes: what was copied, not what a
// name leads to by now.
func (vs Volumes) Devices() (all []Device, err error) {
	for _, v := range vs {
		var st unix.Stat_t
		if err := unix.Fstat(int(v.source.f.Fd()), &st); err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.mount.Volume, err)
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFBLK || kind == unix.S_IFCHR {
			all = append(all, Device{kind == unix.S_IFBLK, unix.Major(st.Rdev), unix.Minor(st.Rdev), v.mount.ReadOnly})
		}
	}
	return all, nil
}

// CloneVolumes copies the sources of the plan. shared is the directory of the
// pod for empty volumes. idmap, if set, changes the owners that a copy shows,
// for a pod with a user namespace.
func CloneVolumes(plan appmount.Plan, shared string, idmap func(*os.File) error) (Volumes, error) {
	var all Volumes
	for _, m := range plan.Mounts {
		v, err := cloneVolume(m, shared, idmap)
		if err != nil {
			all.Close()
			return nil, fmt.Errorf("volume %s: %w", m.Volume, err)
		}
		all = append(all, v)
	}
	return all, nil
}

func cloneVolume(m appmount.Mount, shared string, idmap func(*os.File) error) (*Volume, error) {
	v := &Volume{mount: m}
	path := m.Source
	if m.Kind == appmount.Empty {
		var err error
		if path, v.fill, err = emptyVolume(m, shared); err != nil {
			return nil, err
		}
	}
	var err error
	if v.source, err = Clone(path, m.Recursive); err != nil {
		return nil, err
	}
	if m.ReadOnly {
		err = v.source.ReadOnly()
	}
	if err == nil && idmap != nil {
		if err = idmap(v.source.f); err != nil {
			err = fmt.Errorf("show %s with the owners of the pod's user namespace: %w", path, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, v.source.Close())
	}
	return v, nil
}

// PutVolumes puts volumes into the tree, in order; note gets a line for each one
// that is filled from the image.
func (t *Tree) PutVolumes(all Volumes, note func(string)) error {
	for _, v := range all {
		if v.fill != nil {
			note("Docker converted image, initializing implicit volume with data contained at the mount point " +
				strconv.Quote(v.mount.Target) + ".")
			if err := t.copyUp(v.mount.Target, v.fill); err != nil {
				return fmt.Errorf("volume %s: %w", v.mount.Volume, err)
			}
		}
		if err := t.Put(v.source, v.mount.Target); err != nil {
			return fmt.Errorf("volume %s: %w", v.mount.Volume, err)
		}
	}
	return nil
}

// Volumes carries out the plan: CloneVolumes and PutVolumes.
func (t *Tree) Volumes(plan appmount.Plan, shared string, note func(string)) error {
	all, err := CloneVolumes(plan, shared, t.IDMap)
	if err != nil {
		return err
	}
	defer all.Close()
	return t.PutVolumes(all, note)
}

// emptyVolume makes the directory of an empty volume, once. One that is to be
// filled and was made just now is returned open.
func emptyVolume(m appmount.Mount, shared string) (dir string, fill *os.File, err error) {
	if err := os.Mkdir(shared, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	dir = shared + "/" + m.Volume.String()
	err = os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return dir, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if err := os.Chown(dir, m.UID, m.GID); err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, m.Mode); err != nil {
		return "", nil, err
	}
	if m.CopyUp {
		fill, err = os.Open(dir)
	}
	return dir, fill, err
}

// DNS is where resolv.conf and hosts come from.
type DNS struct {
	Resolv, Hosts         string // modes of package entrypoint
	ResolvFile, HostsFile string // what stage0 wrote
}

// defaultHosts is /etc/hosts of an image that has none.
const defaultHosts = "127.0.0.1 localhost localdomain\n"

// DefaultHosts gives an image that has no /etc/hosts one. It works on the
// image alone, before anything is mounted: a link in there must not lead to a
// volume or to the host's /dev.
func (t *Tree) DefaultHosts() error {
	_, err := t.root.Stat("/etc/hosts")
	if !errors.Is(err, fs.ErrNotExist) {
		return nil // it has one, or something nobody can make one of
	}
	return t.root.WriteNew("/etc/hosts", []byte(defaultHosts), 0o644)
}

// Names provides resolv.conf and hosts. Files are bound, not copied: without
// overlay a copy would change the tree of the image.
func (t *Tree) Names(d DNS) error {
	if err := t.name(d.Resolv, d.ResolvFile, "/etc/resolv.conf"); err != nil {
		return err
	}
	return t.name(d.Hosts, d.HostsFile, "/etc/hosts")
}

// name provides one file: the host's, or what stage0 wrote if it wrote one.
func (t *Tree) name(mode, written, file string) error {
	switch mode {
	case entrypoint.ModeHost:
		return t.bind(file, file, false, true)
	case entrypoint.ModeStage0:
		err := t.bind(written, file, false, false)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return nil
}

// ReadOnly makes the root read-only, but not the mounts on it.
func (t *Tree) ReadOnly() error {
	err := unix.MountSetattr(t.root.FD(), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return nil
}
