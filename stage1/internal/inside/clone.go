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

// JoinExec starts a child that joins the namespaces, in order, and executes the
// program with the descriptor file. The calling goroutine is locked to its
// thread, which has joined the PID namespace for its children already.
//
//go:noinline
func JoinExec(file int, namespaces []int, argv, env []string) (pid int, err error) {
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
	// No handler of the Go runtime may run in the child.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	n, errno := cloneChild(file, namespaces, args, envp, pipe[1], &old)
	maskErr := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	_ = unix.Close(pipe[1])
	defer func() { _ = unix.Close(pipe[0]) }()
	runtime.KeepAlive(args)
	runtime.KeepAlive(envp)
	if errno != 0 {
		return 0, fmt.Errorf("clone: %w", errno)
	}
	if maskErr != nil {
		return 0, fmt.Errorf("unblock signals: %w", maskErr)
	}
	return int(n), childError(pipe[0], int(n))
}

// childError reads what the child could not do; nothing if it has executed.
func childError(fd, pid int) error {
	var report [2]int32
	b := (*[8]byte)(unsafe.Pointer(&report))[:]
	for {
		n, err := unix.Read(fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		break
	}
	_, _ = unix.Wait4(pid, nil, 0, nil)
	if report[0] < 0 {
		return fmt.Errorf("execute: %w", unix.Errno(report[1]))
	}
	return fmt.Errorf("join namespace %d: %w", report[0], unix.Errno(report[1]))
}

// cloneChild is the part that runs in two processes. In the child only raw
// system calls are made: no allocation, no scheduler, no stack growth.
//
//go:noinline
//go:norace
//go:nosplit
func cloneChild(file int, namespaces []int, args, envp []*byte, report int, mask *unix.Sigset_t) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	var msg [2]int32
	for i := 0; i < len(namespaces); i++ {
		_, _, e := syscall.RawSyscall(unix.SYS_SETNS, uintptr(namespaces[i]), 0, 0)
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
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(mask)), 0, 8, 0, 0)
	empty := [1]byte{}
	_, _, e := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(file), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	msg[0], msg[1] = -1, int32(e)
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(report), uintptr(unsafe.Pointer(&msg)), unsafe.Sizeof(msg))
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, statusFailed, 0, 0)
	}
}
