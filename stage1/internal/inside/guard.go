// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Guard is a process that kills a pod if its supervisor dies without doing so:
// the pod's PID 1 is no child of the supervisor's, and nothing else ties their
// lives together. It holds the pod lock, so that the pod counts as running until
// its last process is gone.
//
// It is a bare copy of the calling process, made early, when that is small. It
// makes a handful of raw system calls and sleeps.
type Guard struct {
	pid  int
	pipe *os.File
}

// StartGuard starts the guard. The calling goroutine is locked to its thread.
func StartGuard(lock int) (*Guard, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("start the guard of the pod: %w", err)
	}
	parent, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return nil, fmt.Errorf("start the guard of the pod: %w", err)
	}
	unix.CloseOnExec(parent)
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return nil, fmt.Errorf("block signals: %w", err)
	}
	keep := sorted3(lock, pipe[0], parent)
	buf := new([maxPath + 1]byte)
	pid, errno := guard(keep, pipe[0], parent, buf)
	runtime.KeepAlive(buf)
	maskErr := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	_ = unix.Close(pipe[0])
	_ = unix.Close(parent)
	if errno != 0 {
		return nil, fmt.Errorf("start the guard of the pod: %w", errno)
	}
	return &Guard{pid: int(pid), pipe: os.NewFile(uintptr(pipe[1]), "guard")}, maskErr
}

// PID is the process ID of the guard.
func (g *Guard) PID() int { return g.pid }

func sorted3(a, b, c int) [3]int {
	if a > b {
		a, b = b, a
	}
	if b > c {
		b, c = c, b
	}
	if a > b {
		a, b = b, a
	}
	return [3]int{a, b, c}
}

// maxPath is the longest path that KillBy takes.
const maxPath = 4095

// KillBy tells the guard of a file cgroup.kill of the pod's (cgroups(7)), which
// may not be there yet. If the supervisor dies before Protect, a 1 goes there:
// PID 1 may exist before anybody has said which process it is.
func (g *Guard) KillBy(file string) error {
	if len(file) > maxPath {
		return fmt.Errorf("guard of the pod: %q is too long", file)
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(-len(file)))
	if _, err := g.pipe.Write(append(b, file...)); err != nil {
		return fmt.Errorf("guard of the pod: %w", err)
	}
	return nil
}

// Protect tells the guard which process is the pod's PID 1.
func (g *Guard) Protect(leader int) error {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(leader))
	if _, err := g.pipe.Write(b[:]); err != nil {
		return fmt.Errorf("guard of the pod: %w", err)
	}
	return nil
}

// End ends the guard of a pod that has ended.
func (g *Guard) End() {
	_ = unix.Kill(g.pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(g.pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = g.pipe.Close()
}

// pollFD is struct pollfd.
type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

// guard runs in two processes. In the child only raw system calls are made.
//
//go:noinline
//go:norace
//go:nosplit
func guard(keep [3]int, pipe, parent int, buf *[maxPath + 1]byte) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	// Nothing of the caller's stays open but the lock.
	from := 0
	for i := 0; i < len(keep); i++ {
		if keep[i] > from {
			_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(from), uintptr(keep[i]-1), 0)
		}
		from = keep[i] + 1
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(from), uintptr(^uint32(0)), 0)
	// A session of its own: the terminal's signals are not for it.
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)

	var fds [2]pollFD
	fds[0].fd, fds[0].events = int32(pipe), unix.POLLIN
	fds[1].fd, fds[1].events = int32(parent), unix.POLLIN
	var word int32 // the leader, or the length of a path as a negative number
	for {
		_, _, e := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 2, 0, 0, 0, 0)
		if e != 0 {
			continue
		}
		if fds[0].revents&unix.POLLIN == 0 { // before there was a PID 1 that anybody knew
			fd, _, e := syscall.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(buf)), syscall.O_WRONLY, 0, 0, 0)
			if e == 0 {
				one := [1]byte{'1'}
				_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&one)), 1)
			}
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(pipe), uintptr(unsafe.Pointer(&word)), 4)
		if e != 0 || n != 4 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
		}
		if word > 0 {
			break
		}
		if word < -maxPath {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
		}
		_, _, _ = syscall.RawSyscall(syscall.SYS_READ, uintptr(pipe), uintptr(unsafe.Pointer(buf)), uintptr(-word))
	}
	pidfd, _, e := syscall.RawSyscall(unix.SYS_PIDFD_OPEN, uintptr(word), 0, 0)
	if e != 0 {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
	fds[0].fd = int32(pidfd)
	for {
		_, _, e := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 2, 0, 0, 0, 0)
		if e != 0 {
			continue
		}
		if fds[0].revents != 0 { // the pod has ended
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		if fds[1].revents != 0 {
			_, _, _ = syscall.RawSyscall6(unix.SYS_PIDFD_SEND_SIGNAL, pidfd, uintptr(syscall.SIGKILL), 0, 0, 0, 0)
			fds[1].fd = -1 // go on until it is gone
		}
	}
}
