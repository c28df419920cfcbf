// SPDX-License-Identifier: Apache-2.0

// Package privns runs code in a mount namespace of its own, so that mounts
// made for a pod never appear in the host's mount table and vanish with the
// last process that uses them, whatever kills rkt.
package privns

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs fn on an operating system thread that is in a new mount namespace,
// and that no other code ever runs on: only fn itself, what it execs and the
// processes it starts see the mounts it makes. Goroutines that fn starts do not.
//
// Mounts of the host still arrive there; none goes the other way.
func Do(fn func() error) error {
	t, err := NewThread()
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Do(fn)
}

// WithOwnRoot runs fn on a thread with a root and working directory of its
// own, in the mount namespace of the process: fn may chroot.
func WithOwnRoot(fn func() error) error {
	t, err := newThread(func() error { return unshare(unix.CLONE_FS) })
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Do(fn)
}

// Thread is an operating system thread with a mount namespace of its own, for
// those who do many things there one after the other.
type Thread struct {
	work   chan func() error
	result chan error
}

// NewThread starts a thread as Do has it. Close ends it.
func NewThread() (*Thread, error) {
	t, err := newThread(func() error { return unshare(unix.CLONE_NEWNS) })
	if err != nil {
		return nil, err
	}
	err = t.Do(func() error {
		// Slave, not private: what the administrator unmounts later, a
		// removable disk say, is not kept busy by the pod.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("make mounts slaves in the new mount namespace: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func unshare(flags int) error {
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// newThread starts a thread that does setUp before anything else.
func newThread(setUp func() error) (*Thread, error) {
	t := &Thread{work: make(chan func() error), result: make(chan error)}
	started := make(chan error)
	go offMainThread(func() {
		if err := setUp(); err != nil {
			started <- err
			return
		}
		started <- nil
		for fn := range t.work {
			t.result <- fn()
		}
	})
	return t, <-started
}

// offMainThread runs fn on a thread that ends with it, never the main one: that
// is what /proc/self shows of this process, and the runtime cannot end it, so
// that the whole process would look as if it were in fn's namespace for good.
func offMainThread(fn func()) {
	runtime.LockOSThread() // not unlocked: the runtime ends the thread with the goroutine
	if unix.Gettid() != unix.Getpid() {
		fn()
		return
	}
	// As long as this goroutine has the main thread, no other gets it.
	elsewhere := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(elsewhere)
		fn()
	}()
	<-elsewhere
	runtime.UnlockOSThread()
}

// Do runs fn on the thread and waits for it. It must not be called concurrently.
func (t *Thread) Do(fn func() error) error {
	t.work <- fn
	return <-t.result
}

// Close ends the thread, and its mount namespace unless a process uses it.
func (t *Thread) Close() { close(t.work) }
