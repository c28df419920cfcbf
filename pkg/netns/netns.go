// SPDX-License-Identifier: Apache-2.0

// Package netns makes network namespaces that outlive processes: each is pinned
// by a bind mount on a file, where ip-netns(8) looks for them.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dir is where namespaces are pinned.
const Dir = "/var/run/netns"

// Path is where the namespace of a pod is pinned.
func Path(uuid string) string { return filepath.Join(Dir, "cni-"+uuid) }

// Pin makes a network namespace and pins it at path, whose directory is made a
// shared mount as ip-netns(8) does: what is unpinned later goes away in every
// mount namespace that has seen it. The loopback interface in it is up.
func Pin(path string) error {
	if err := shareDir(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("pin a network namespace: %w", err)
	}
	_ = f.Close()
	if err := onThread(func() error { return makeAt(path) }); err != nil {
		return errors.Join(err, Unpin(path))
	}
	return nil
}

// Unshare gives the calling thread a network namespace of its own, with the
// loopback interface up.
func Unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	return loopbackUp()
}

func makeAt(path string) error {
	if err := Unshare(); err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin a network namespace: %w", &os.PathError{Op: "mount", Path: path, Err: err})
	}
	return nil
}

// loopbackUp sets the loopback interface of the calling thread's namespace up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}

// shareDir makes the directory, and a shared mount if it is none.
func shareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("directory of network namespaces: %w", err)
	}
	err := unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, "")
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EINVAL) { // no mount point yet
		if err = unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("directory of network namespaces: %w", &os.PathError{Op: "mount", Path: dir, Err: err})
	}
	return nil
}

// Unpin takes a pin away, in every mount namespace. One that is gone is fine.
// The namespace itself ends with the last process in it.
func Unpin(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unpin a network namespace: %w", &os.PathError{Op: "unmount", Path: path, Err: err})
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin a network namespace: %w", err)
	}
	return nil
}

// IsPinned tells whether there is a namespace at path.
func IsPinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// Enter moves the calling thread into the namespace pinned at path.
func Enter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace: %w", &os.PathError{Op: "setns", Path: path, Err: err})
	}
	return nil
}

// In runs fn on a thread in the namespace pinned at path.
func In(path string, fn func() error) error {
	return onThread(func() error {
		if err := Enter(path); err != nil {
			return err
		}
		return fn()
	})
}

// onThread runs fn on a thread that no other code ever runs on, never the main
// one, which the runtime cannot end.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			done <- fn()
			return
		}
		// As long as this goroutine has the main thread, no other gets it.
		other := make(chan error)
		go func() {
			runtime.LockOSThread()
			other <- fn()
		}()
		err := <-other
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
