// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// statusFailed is the exit status of a child that has not executed.
const statusFailed = 254

// What the children report: a number of the namespace that could not be joined,
// or one of these.
const (
	reportExec = -1 // execve has failed
	reportPID  = -2 // the process that executes
)

// joinExec starts a process that is in the namespaces, and in pidns if that is
// not negative, and executes the program with the descriptor file.
//
// Two clones. The first child joins the namespaces, one after the other; nobody
// in the pod sees it, it is in the host's PID namespace. Its root is the pod's
// from then on. The second child, in the pod's PID namespace, is the caller's,
// too (CLONE_PARENT), and executes at once: what the pod sees of it is the
// caller's program, which has to be a sealed copy, and the pod's own files.
//
//go:noinline
func joinExec(file int, namespaces []int, pidns int, argv, env []string) (pid int, err error) {
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return 0, err
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return 0, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe: %w", err)
	}
	// No handler of the Go runtime may run in the children.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	first, errno := cloneChild(file, namespaces, pidns, args, envp, pipe[1], &old)
	maskErr := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	_ = unix.Close(pipe[1])
	defer func() { _ = unix.Close(pipe[0]) }()
	runtime.KeepAlive(args)
	runtime.KeepAlive(envp)
	if errno != 0 {
		return 0, fmt.Errorf("clone: %w", errno)
	}
	pid, err = childReport(pipe[0])
	reap(int(first))
	if err != nil && pid != 0 {
		reap(pid)
	}
	return pid, errors.Join(err, maskErr)
}

func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// childReport reads which process executes, and what the children could not do.
func childReport(fd int) (pid int, err error) {
	for {
		var report [2]int32
		n, err := unix.Read(fd, (*[8]byte)(unsafe.Pointer(&report))[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return pid, err
		case n == 0 && pid == 0:
			return 0, errors.New("the child has ended before it could report")
		case n == 0:
			return pid, nil
		case report[0] == reportPID:
			pid = int(report[1])
		case report[0] == reportExec:
			return pid, fmt.Errorf("execute: %w", unix.Errno(report[1]))
		default:
			return pid, fmt.Errorf("join namespace %d: %w", report[0], unix.Errno(report[1]))
		}
	}
}

// cloneChild is the part that runs in three processes. In the children only raw
// system calls are made: no allocation, no scheduler, no stack growth.
//
//go:noinline
//go:norace
//go:nosplit
func cloneChild(file int, namespaces []int, pidns int, args, envp []*byte, report int, mask *unix.Sigset_t) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	var msg [2]int32
	for i := 0; i <= len(namespaces); i++ {
		ns := pidns
		if i < len(namespaces) {
			ns = namespaces[i]
		}
		if ns < 0 {
			continue
		}
		_, _, e := syscall.RawSyscall(unix.SYS_SETNS, uintptr(ns), 0, 0)
		if e != 0 {
			msg[0], msg[1] = int32(i), int32(e)
			_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(report), uintptr(unsafe.Pointer(&msg)), unsafe.Sizeof(msg))
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, statusFailed, 0, 0)
		}
	}
	// Root of the pod: in a user namespace the host's root is nobody, and would
	// lose every capability at execve.
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESGID, 0, 0, 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, 0, 0, 0)
	second, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD)|unix.CLONE_PARENT, 0, 0, 0, 0, 0)
	if e != 0 || second != 0 {
		msg[0], msg[1] = reportPID, int32(second)
		if e != 0 {
			msg[0], msg[1] = reportExec, int32(e)
		}
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(report), uintptr(unsafe.Pointer(&msg)), unsafe.Sizeof(msg))
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(mask)), 0, 8, 0, 0)
	empty := [1]byte{}
	_, _, e = syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(file), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	msg[0], msg[1] = reportExec, int32(e)
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(report), uintptr(unsafe.Pointer(&msg)), unsafe.Sizeof(msg))
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, statusFailed, 0, 0)
	}
}
