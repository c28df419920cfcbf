// SPDX-License-Identifier: Apache-2.0

// Package unmount takes away everything that is mounted below a directory
// whose content is not trusted, and nothing else.
//
// Source: spec pods.md 9.
package unmount

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// All unmounts what is mounted below dir in the mount namespace of the
// process. Mounts are made private first, so that nothing is unmounted
// anywhere else, and busy ones are detached. It fails if something is still
// mounted afterwards. Remarks on single mounts go to remark.
func All(dir string, remark func(string)) error {
	mounts, err := Below(dir)
	if err != nil || len(mounts) == 0 {
		return err
	}
	if err := privns.WithOwnRoot(func() error { return unmountIn(dir, mounts, remark) }); err != nil {
		return err
	}
	left, err := Below(dir)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("still mounted: %s", left[0].Mountpoint)
	}
	return nil
}

// Below returns what is mounted below dir (not on dir itself), parents before
// children.
func Below(dir string) ([]*mountinfo.Info, error) {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read mount table: %w", err)
	}
	byID := make(map[int]*mountinfo.Info, len(all))
	var mounts []*mountinfo.Info
	for _, m := range all {
		byID[m.ID] = m
		if strings.HasPrefix(m.Mountpoint, prefix) {
			mounts = append(mounts, m)
		}
	}
	// By depth in the tree of mounts: path length says nothing about mounts
	// that cover each other.
	slices.SortStableFunc(mounts, func(a, b *mountinfo.Info) int { return depth(byID, a) - depth(byID, b) })
	return mounts, nil
}

func depth(byID map[int]*mountinfo.Info, m *mountinfo.Info) int {
	n := 0
	for ; m != nil && n <= len(byID); n++ {
		parent := byID[m.Parent]
		if parent == m {
			break
		}
		m = parent
	}
	return n
}

// unmountIn runs on a thread with a root of its own, which becomes dir:
// symbolic links planted in the pod cannot lead a path to the host.
func unmountIn(dir string, mounts []*mountinfo.Info, remark func(string)) error {
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir to /: %w", err)
	}
	if err := unix.Chroot(dir); err != nil {
		return fmt.Errorf("chroot to %s: %w", dir, err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir to %s: %w", dir, err)
	}
	for _, m := range mounts {
		if !strings.Contains(m.Optional, "shared:") && !strings.Contains(m.Optional, "master:") {
			continue
		}
		if err := unix.Mount("", inside(dir, m), "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			remark(fmt.Sprintf("skipping %q, not marked as private: %v", m.Mountpoint, err))
		}
	}
	for _, m := range slices.Backward(mounts) {
		err := unix.Unmount(inside(dir, m), unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			remark(fmt.Sprintf("mount %q is busy, marking for lazy detach", m.Mountpoint))
			_ = unix.Unmount(inside(dir, m), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
	return nil // what is left shows in the second look at the table
}

func inside(dir string, m *mountinfo.Info) string {
	return filepath.Join("/", strings.TrimPrefix(m.Mountpoint, dir))
}
