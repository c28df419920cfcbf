// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/overlay"
)

func newSquash() command {
	var f fetchFlags
	return onlyAppc(command{
		name: "squash", summary: "Put the dependencies into the image, which then has none", modifies: true,
		flags: f.bind,
		run: func(ctx context.Context, c *call) error {
			if c.EUID != 0 {
				return errors.New("the squash subcommand must be run as root")
			}
			return c.withBuild(func(b *build) error { return c.squash(ctx, b, f) })
		},
	})
}

// squash makes another image beside the one of the build, of the dependencies
// and what that has, and exchanges the two.
func (c *call) squash(ctx context.Context, b *build, f fetchFlags) error {
	m, err := b.manifest()
	if err != nil {
		return err
	}
	if len(m.Dependencies) == 0 {
		return errors.New("the image has no dependencies")
	}
	lowers, err := c.renderDependencies(ctx, b, m, f)
	if err != nil {
		return err
	}
	draft := b.path(imageDraft)
	if err := errors.Join(os.Mkdir(draft, 0o755), os.Mkdir(filepath.Join(draft, rootfsDir), 0o755)); err != nil {
		return err
	}
	if err := c.copyMerged(ctx, b, lowers, filepath.Join(draft, rootfsDir)); err != nil {
		return errors.Join(err, b.removeDrafts())
	}
	m.Dependencies = nil
	if err := c.record(m); err != nil {
		return errors.Join(err, b.removeDrafts())
	}
	err = writeManifest(draft, m)
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, draft, unix.AT_FDCWD, b.path(imageDir), unix.RENAME_EXCHANGE)
	}
	if err != nil {
		err = fmt.Errorf("replace the image: %w", err)
	}
	return errors.Join(err, b.removeDrafts()) // the old image by now
}

// copyMerged copies what a pod would see of the image to dst. The mount is made
// in a mount namespace that ends with its thread.
func (c *call) copyMerged(ctx context.Context, b *build, lowers []string, dst string) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread is of no use for anything else
		result <- func() error {
			if err := privateMounts(); err != nil {
				return err
			}
			target := b.path(stagingDir)
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			merged := overlay.Mount{Lowers: append([]string{b.rootfs()}, lowers...), Target: target}
			for i, lower := range merged.Lowers {
				abs, err := filepath.Abs(lower)
				if err != nil {
					return err
				}
				merged.Lowers[i] = abs
			}
			if err := merged.Do(); err != nil {
				return fmt.Errorf("overlayfs support required for using squash: mount the dependencies: %w", err)
			}
			err := c.copyContent(ctx, target, dst, b.dir)
			return errors.Join(err, unix.Unmount(target, unix.MNT_DETACH))
		}()
	}()
	return <-result
}

// privateMounts gives the calling thread a mount namespace of its own.
func privateMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detach from the mounts of the host: %w", err)
	}
	return nil
}
