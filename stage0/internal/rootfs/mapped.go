// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/deltree"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// probeShift is an ID that no pod's files get to have: they are deleted.
const probeShift = 0x00080000

// TryMapped tries whether overlays of layers that are mapped to a user namespace
// work in a data directory. The answer depends on the kernel, on the file system
// and on what both know of each other, so it makes a small one. Any no is an
// *idmap.UnsupportedError.
func TryMapped(dataDir string) (err error) {
	if err := idmap.Supported(dataDir); err != nil {
		return err
	}
	tmp := filepath.Join(dataDir, poddir.Tmp)
	if err := mkdir(tmp, 0o750); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(tmp, "try-mapped-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, deltree.Remove(dir)) }()
	users, err := NewUsers(probeShift, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, users.Close()) }()
	if err := privns.Do(func() error { return tryMapped(dir, users) }); err != nil {
		return &idmap.UnsupportedError{Err: err}
	}
	return nil
}

func tryMapped(dir string, users *Users) error {
	lower, target := filepath.Join(dir, "lower"), filepath.Join(dir, "target")
	if err := errors.Join(os.Mkdir(lower, 0o755), os.Mkdir(target, 0o755), os.WriteFile(filepath.Join(lower, "old"), nil, 0o644)); err != nil {
		return err
	}
	o := Overlay{PodDir: dir, TreeID: "try", Lowers: []string{lower}, Target: target, GID: -1, Users: users}
	if err := o.Mount(); err != nil {
		return err
	}
	// Copied up and made new, both as the pod's root would.
	err := idmap.WithRoot(users.shift, func() error {
		return errors.Join(os.Chmod(filepath.Join(target, "old"), 0o600), os.WriteFile(filepath.Join(target, "new"), nil, 0o644))
	})
	if err != nil {
		return err
	}
	upper := filepath.Join(dir, poddir.OverlayUpper("try", ""))
	for _, name := range []string{"old", "new"} {
		if err := errors.Join(belongs(filepath.Join(target, name), users.shift), belongs(filepath.Join(upper, name), 0)); err != nil {
			return err
		}
	}
	return nil
}

func belongs(path string, want uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	if st.Uid != want || st.Gid != want {
		return fmt.Errorf("%s belongs to %d:%d, not %d", path, st.Uid, st.Gid, want)
	}
	return nil
}
