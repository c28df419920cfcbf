// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// NewUserNS makes a user namespace whose IDs 0 to count-1 are the host's from
// shift up. The file is all there is of it: no process stays. The caller
// closes it.
func NewUserNS(shift, count uint32) (*os.File, error) {
	if count == 0 || uint64(shift)+uint64(count) > math.MaxUint32 {
		return nil, fmt.Errorf("make user namespace: invalid range %d:%d", shift, count)
	}
	f, err := newUserNS(fmt.Sprintf("0 %d %d\n", shift, count))
	if err != nil {
		return nil, fmt.Errorf("make user namespace for %d:%d: %w", shift, count, err)
	}
	return f, nil
}

func newUserNS(idMap string) (_ *os.File, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := dead(unix.CLONE_NEWUSER)
	if errors.Is(err, unix.ENOSPC) {
		return nil, fmt.Errorf("%w: see /proc/sys/user/max_user_namespaces", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reap(pid)) }()
	dir := "/proc/" + strconv.Itoa(pid)
	for _, file := range []string{"/uid_map", "/gid_map"} {
		if err := writeOnce(dir+file, idMap); err != nil {
			return nil, err
		}
	}
	return os.Open(dir + "/ns/user")
}

// writeOnce writes in one call, as maps have to be written.
func writeOnce(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// dead makes a process that has ended in the new namespaces. As long as it is
// not reaped, they can be opened and set up by its ID: credentials belong to
// what stays of a process, and no program, and so no other code, has to run.
//
// The process has no exit signal, so nobody's SIGCHLD handler and nobody who
// waits for any child gets to know it, only who waits with __WALL.
func dead(flags uintptr) (int, error) {
	// A handler of the Go runtime must not run in the copy.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = math.MaxUint64
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &old); err != nil {
		return 0, err
	}
	pid, errno := cloneAndExit(flags | unix.CLONE_VFORK) // back when it has ended
	err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if errno != 0 {
		return 0, os.NewSyscallError("clone", errno)
	}
	if err != nil {
		return 0, errors.Join(err, reap(int(pid)))
	}
	return int(pid), nil
}

// cloneAndExit does nothing but two system calls: the copy has one thread and
// must not enter the Go runtime.
//
//go:norace
//go:nosplit
func cloneAndExit(flags uintptr) (uintptr, unix.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

func reap(pid int) error {
	for {
		_, err := unix.Wait4(pid, nil, unix.WALL, nil)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("wait4", err)
		}
	}
}
