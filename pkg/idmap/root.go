// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WithRoot runs fn on the calling thread with the file system IDs of a pod's
// root, so that what fn makes belongs to the pod, in idmapped mounts as well as
// elsewhere, and with every capability that root has. Goroutines that fn starts,
// and other threads, keep theirs.
//
// It does nothing but call fn if shift is 0: the pod's root is the host's.
func WithRoot(shift uint32, fn func() error) (err error) {
	if shift == 0 {
		return fn()
	}
	runtime.LockOSThread()
	defer func() {
		// A thread that could not be put right again ends with its goroutine.
		if !errors.Is(err, errThread) {
			runtime.UnlockOSThread()
		}
	}()
	old, err := saveThread()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.restore()) }()
	if err := setFSIDs(int(shift), int(shift)); err != nil {
		return err
	}
	// Leaving ID 0 has dropped those that are about files (capabilities(7)).
	if err := setCaps(&old.caps); err != nil {
		return err
	}
	return fn()
}

// errThread says that a thread is not what it was before.
var errThread = errors.New("cannot restore the credentials of the thread")

// thread is what a change of the file system IDs changes.
type thread struct {
	uid, gid  int
	caps      [2]unix.CapUserData
	pdeathsig int
	dumpable  int
}

func saveThread() (*thread, error) {
	var t thread
	var err error
	if t.uid, err = unix.SetfsuidRetUid(-1); err != nil {
		return nil, os.NewSyscallError("setfsuid", err)
	}
	if t.gid, err = unix.SetfsgidRetGid(-1); err != nil {
		return nil, os.NewSyscallError("setfsgid", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&hdr, &t.caps[0]); err != nil {
		return nil, os.NewSyscallError("capget", err)
	}
	if t.dumpable, err = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	t.pdeathsig, err = parentDeathSignal()
	return &t, err
}

// restore ends in the state that saveThread has found. The kernel clears the
// signal for the parent's death and what makes the process inspectable with
// any change of IDs (prctl(2)).
func (t *thread) restore() error {
	err := errors.Join(setFSIDs(t.uid, t.gid), setCaps(&t.caps))
	if err != nil {
		return fmt.Errorf("%w: %w", errThread, err)
	}
	err = errors.Join(
		unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(t.pdeathsig), 0, 0, 0),
		unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(t.dumpable&1), 0, 0, 0),
	)
	if err != nil {
		return fmt.Errorf("%w: %w", errThread, err)
	}
	return nil
}

// setFSIDs sets and looks: these calls report no failure.
func setFSIDs(uid, gid int) error {
	_, err1 := unix.SetfsgidRetGid(gid)
	_, err2 := unix.SetfsuidRetUid(uid)
	g, err3 := unix.SetfsgidRetGid(-1)
	u, err4 := unix.SetfsuidRetUid(-1)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if u != uid || g != gid {
		return fmt.Errorf("set file system IDs to %d:%d: they are %d:%d", uid, gid, u, g)
	}
	return nil
}

func setCaps(caps *[2]unix.CapUserData) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return os.NewSyscallError("capset", unix.Capset(&hdr, &caps[0]))
}

func parentDeathSignal() (int, error) {
	var sig int32
	err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&sig)), 0, 0, 0)
	return int(sig), os.NewSyscallError("prctl", err)
}
