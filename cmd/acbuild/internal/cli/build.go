// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Names in the context directory.
const (
	contextDir   = ".acbuild"
	lockFile     = "lock"
	imageDir     = "currentaci"
	imageDraft   = "currentaci.tmp"
	manifestFile = "manifest"
	rootfsDir    = "rootfs"
	modeFile     = "buildMode"
	depstoreDir  = "depstore"
	scratchFile  = "scratch"
	stagingDir   = "staging"
	targetDir    = "target"
	workDir      = "work"
)

const unnamed = "acbuild-unnamed"

var errNoBuild = errors.New(`no build in progress in this working dir - try "acbuild begin"`)

// build is the context directory, locked.
type build struct {
	dir  string
	lock *lock.Lock
}

func (b *build) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

func (b *build) rootfs() string { return b.path(imageDir, rootfsDir) }

// begun tells whether there is an image.
func (b *build) begun() (bool, error) {
	_, err := os.Lstat(b.path(imageDir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// lockBuild takes the lock of an existing context directory.
func lockBuild(dir string) (*build, error) {
	l, err := lock.TryKey(dir, lockFile, lock.Exclusive)
	switch {
	case errors.Is(err, lock.ErrLocked):
		return nil, errors.New("lock already held - is another acbuild running in this working dir?")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil, errNoBuild
	case err != nil:
		return nil, err
	}
	return &build{dir: dir, lock: l}, nil
}

func (b *build) unlock() error {
	err := os.Remove(b.path(lockFile))
	if errors.Is(err, fs.ErrNotExist) { // end has removed everything
		err = nil
	}
	return errors.Join(err, b.lock.Close())
}

// withBuild calls fn with the build of the working path.
func (c *call) withBuild(fn func(*build) error) error {
	b, err := lockBuild(filepath.Join(c.global.workPath, contextDir))
	if err != nil {
		return err
	}
	err = b.recover(c)
	if err == nil {
		var ok bool
		if ok, err = b.begun(); err == nil && !ok {
			err = errNoBuild
		}
	}
	if err == nil {
		err = fn(b)
	}
	return errors.Join(err, b.unlock())
}

// recover takes away what a command left that was killed.
func (b *build) recover(c *call) error {
	if err := unmountStale(b.path(targetDir)); err != nil {
		return err
	}
	// Not a whole tree at target: what is mounted there and may not be unmounted is not ours.
	if err := os.Remove(b.path(targetDir)); err != nil && !errors.Is(err, fs.ErrNotExist) &&
		!errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	if err := b.removeDrafts(); err != nil {
		return err
	}
	if err := errors.Join(b.removeUnlisted(), b.removeOutput()); err != nil {
		return err
	}
	n, err := b.removeScratch()
	if n > 0 {
		c.debugf("removed %d files that an interrupted run had left in the image", n)
	}
	return err
}

// removeDrafts removes what no command needs that has ended.
func (b *build) removeDrafts() error {
	var err error
	for _, name := range []string{stagingDir, workDir, imageDraft} {
		err = errors.Join(err, imagestore.RemoveTree(b.path(name)))
	}
	return err
}

// unmountStale unmounts what the classic acbuild may have left mounted; this
// one mounts in a namespace of its own.
func unmountStale(target string) error {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, target, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "statx", Path: target, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return nil
	}
	err = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}

// manifest reads the manifest of the image.
func (b *build) manifest() (*manifest, error) {
	raw, err := os.ReadFile(b.path(imageDir, manifestFile))
	if err != nil {
		return nil, err
	}
	m, err := appc.ParseImageManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("manifest of the build: %w", err)
	}
	return m, nil
}

// setManifest replaces the manifest, if it is valid.
func (b *build) setManifest(m *manifest) error {
	return writeManifest(b.path(imageDir), m)
}

func writeManifest(dir string, m *manifest) error {
	raw, err := m.Marshal()
	if err != nil {
		return err
	}
	if _, err := appc.ParseImageManifest(raw); err != nil {
		return err
	}
	return atomicfile.WriteNoSync(filepath.Join(dir, manifestFile), raw, 0o644)
}

// oci tells whether this is an OCI build.
func (b *build) oci() (bool, error) {
	data, err := os.ReadFile(b.path(modeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(data) == modeOCI, err
}

// discard removes the build, whose lock is held.
func (b *build) discard() error {
	if err := errors.Join(unmountStale(b.path(targetDir)), b.removeOutput()); err != nil {
		return err
	}
	return imagestore.RemoveTree(b.dir)
}

func newEnd() command {
	return command{
		name: "end", summary: "End the build and remove what it has", alone: true,
		run: endBuild,
	}
}
