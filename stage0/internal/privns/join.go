// SPDX-License-Identifier: Apache-2.0

package privns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// In runs fn on a thread in the mount namespace ns of a running pod. Root and
// working directory of the thread are root, a directory there: no path, and no
// link on the way, leads fn out of it. What fn mounts, the pod sees.
func In(ns, root *os.File, fn func() error) error {
	t, err := newThread(func() error { return join(int(ns.Fd()), int(root.Fd())) })
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Do(fn)
}

func join(ns, root int) error {
	// setns(2): not in a thread that shares root and directory with others.
	if err := unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("join the mount namespace of the pod: %w", err)
	}
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("chdir to the root of the pod: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to the root of the pod: %w", err)
	}
	return nil
}
