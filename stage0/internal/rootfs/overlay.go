// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/overlay"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Overlay is the writable overlay of stage1 (App is empty) or of an app.
type Overlay struct {
	PodDir  string
	TreeID  string
	App     string
	Lowers  []string // top first
	Target  string
	Context string // SELinux mount label
	GID     int    // group of overlay/<tree ID>, -1 to leave it
	// Users, if not nil, is whom the overlay shows everything as owned by. On
	// disk all layers, the upper one included, have the owners of the image.
	Users *Users
}

// Users is the user namespace of a pod whose layers are mapped to it.
type Users struct {
	shift uint32
	ns    *os.File
}

// NewUsers makes what maps layers to the count IDs of the host from shift up.
// The caller closes it; overlays that were mounted do not need it any more.
func NewUsers(shift, count uint32) (*Users, error) {
	ns, err := idmap.NewUserNS(shift, count)
	if err != nil {
		return nil, err
	}
	return &Users{shift: shift, ns: ns}, nil
}

// Close closes the namespace. It does nothing to nil.
func (u *Users) Close() error {
	if u == nil {
		return nil
	}
	return u.ns.Close()
}

// Mount makes the upper and work directories, which stay with the pod, and
// mounts the overlay; see overlay.Mount for what it asks of the calling thread.
func (o Overlay) Mount() error {
	upper := filepath.Join(o.PodDir, poddir.OverlayUpper(o.TreeID, o.App))
	work := filepath.Join(o.PodDir, poddir.OverlayWork(o.TreeID, o.App))
	if err := o.makeDirs(upper, work); err != nil {
		return fmt.Errorf("prepare overlay of %s: %w", o.what(), err)
	}
	m := overlay.Mount{Lowers: o.Lowers, Upper: upper, Work: work, Target: o.Target, Context: o.Context}
	var err error
	if o.Users == nil {
		err = m.Do()
	} else {
		m.UserNS = o.Users.ns
		err = idmap.WithRoot(o.Users.shift, m.Do)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.what(), err)
	}
	return nil
}

func (o Overlay) what() string {
	if o.App == "" {
		return "stage1"
	}
	return fmt.Sprintf("app %q", o.App)
}

func (o Overlay) makeDirs(upper, work string) error {
	top := filepath.Join(o.PodDir, poddir.Overlay)
	if err := mkdir(top, 0o750); err != nil {
		return err
	}
	// Loses the inherited set-group-ID bit, which files of the pod would inherit.
	if err := os.Chmod(top, 0o750); err != nil {
		return err
	}
	tree := filepath.Join(top, o.TreeID)
	if err := mkdir(tree, 0o750); err != nil {
		return err
	}
	if o.GID >= 0 {
		if err := os.Chown(tree, -1, o.GID); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(upper), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o750); err != nil {
		return err
	}
	if err := mkdir(upper, 0o755); err != nil {
		return err
	}
	return o.copyAttributes(upper)
}

// copyAttributes gives the upper directory and the mount point mode and owner
// of the lower one: the upper directory's are what the pod sees of its root.
func (o Overlay) copyAttributes(upper string) error {
	var st unix.Stat_t
	if err := unix.Stat(o.Lowers[0], &st); err != nil {
		return &os.PathError{Op: "stat", Path: o.Lowers[0], Err: err}
	}
	shift := 0
	if o.Users != nil && o.App != "" { // in the mapped tree of stage1
		shift = int(o.Users.shift)
	}
	for dir, shift := range map[string]int{upper: 0, o.Target: shift} {
		if err := unix.Lchown(dir, int(st.Uid)+shift, int(st.Gid)+shift); err != nil {
			return &os.PathError{Op: "chown", Path: dir, Err: err}
		}
		if err := unix.Chmod(dir, st.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: dir, Err: err}
		}
	}
	return nil
}

func mkdir(path string, mode os.FileMode) error {
	err := os.Mkdir(path, mode)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
