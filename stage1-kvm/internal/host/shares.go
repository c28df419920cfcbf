// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/guest"
)

// shareDir is where the guest's share is put together, in the pod directory and
// the pod's mount namespace.
const shareDir = "kvm-share"

// shares are the directories and files that the guest sees.
type shares struct {
	volumes map[string]string // of the guest, by source and attributes
	count   int
}

// makeShares mounts everything that the guest is to see below one directory,
// which becomes the root of virtiofsd: what the guest names, however it does,
// is looked up from there. A read-only volume is one here, on the host's side.
func (p *pod) makeShares() error {
	if err := os.MkdirAll(shareDir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", shareDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("shares of the virtual machine: %w", err)
	}
	if err := os.MkdirAll(poddir.SharedVolumes, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(shareDir, guest.ShareVolumes), 0o755); err != nil {
		return err
	}
	if err := show(poddir.Stage1Rootfs, filepath.Join(shareDir, guest.ShareStage1), showOptions{recursive: true}); err != nil {
		return err
	}
	if err := show(poddir.SharedVolumes, filepath.Join(shareDir, guest.ShareEmpty), showOptions{}); err != nil {
		return err
	}
	p.shares.volumes = map[string]string{}
	for i := range p.manifest.Volumes {
		if err := p.share(&p.manifest.Volumes[i]); err != nil {
			return err
		}
	}
	for i := range p.manifest.Apps {
		for j := range p.manifest.Apps[i].Mounts {
			if v := p.manifest.Apps[i].Mounts[j].AppVolume; v != nil {
				if err := p.share(v); err != nil {
					return err
				}
			}
		}
	}
	// The root of the share is nobody's to write.
	return unix.Mount("", shareDir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// share shows the guest a volume of the host, and names it as the guest does.
func (p *pod) share(v *appc.Volume) error {
	if v.Kind != "host" {
		return nil
	}
	readOnly := v.ReadOnly != nil && *v.ReadOnly
	recursive := v.Recursive == nil || *v.Recursive
	key := fmt.Sprintf("%s,%t,%t", v.Source, readOnly, recursive)
	if to, ok := p.shares.volumes[key]; ok {
		v.Source = to
		return nil
	}
	if err := checkVolume(v); err != nil {
		return err
	}
	name := strconv.Itoa(p.shares.count)
	p.shares.count++
	target := filepath.Join(shareDir, guest.ShareVolumes, name)
	if err := show(v.Source, target, showOptions{recursive: recursive, readOnly: readOnly, volume: true}); err != nil {
		return fmt.Errorf("volume %q: %w", v.Name, err)
	}
	to := filepath.Join(guest.ShareDir, guest.ShareVolumes, name)
	p.shares.volumes[key] = to
	v.Source = to
	return nil
}

// checkVolume refuses what cannot be shown to another kernel.
func checkVolume(v *appc.Volume) error {
	st, err := os.Stat(v.Source)
	if err != nil {
		return fmt.Errorf("volume %q: %w", v.Name, err)
	}
	if m := st.Mode(); !m.IsDir() && !m.IsRegular() {
		return hint.With(fmt.Errorf("volume %q: flavor kvm cannot give a virtual machine %s, which is neither a directory nor a file", v.Name, v.Source),
			"run the pod with the flavor coreos")
	}
	return nil
}

type showOptions struct{ recursive, readOnly, volume bool }

// show mounts a copy of source at target, which it makes.
func show(source, target string, o showOptions) error {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	var all uint
	if o.recursive {
		flags |= unix.AT_RECURSIVE
		all = unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, flags)
	if err != nil {
		return &os.PathError{Op: "show the virtual machine", Path: source, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	// virtiofsd executes nothing of it; devices and setuid are the guest's own
	// kernel's to look at.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}
	if o.readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|all, &attr); err != nil {
		return &os.PathError{Op: "show the virtual machine", Path: source, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.Mkdir(target, 0o755)
	} else {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err == nil {
		err = unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return errors.Join(&os.PathError{Op: "show the virtual machine", Path: source, Err: err})
	}
	return nil
}
