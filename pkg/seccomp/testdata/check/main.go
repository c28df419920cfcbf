// SPDX-License-Identifier: Apache-2.0

// The check makes system calls that do no harm if a filter lets them through
// and prints the answer to each, "name errno" a line. It is built for the
// native table and for the 32-bit one.
package main

import (
	"os"
	"strconv"
	"syscall"
)

// question is a call. Without a filter its answer would be another.
type question struct {
	name       string
	nr         uintptr
	a0, a1, a2 uintptr
}

func main() {
	for _, q := range append(questions(), tableQuestions()...) {
		_, _, errno := syscall.RawSyscall(q.nr, q.a0, q.a1, q.a2)
		_, _ = os.Stdout.WriteString(q.name + " " + strconv.Itoa(int(errno)) + "\n")
	}
}

const (
	afVsock     = 40
	tiocsti     = 0x5412
	tioclinux   = 0x541c
	tcgets      = 0x5401
	newUser     = 0x10000000
	cloneThread = 0x00010000 // not valid without CLONE_SIGHAND
	nobody      = ^uintptr(0)
)

func questions() []question {
	// The kernel ignores the upper half where the argument is an int; on a
	// 32-bit table there is none.
	upper := ^uintptr(0) &^ 0xffff_ffff
	return []question{
		{"getppid", syscall.SYS_GETPPID, 0, 0, 0},
		{"socket-alg", sysSocket, 38, syscall.SOCK_SEQPACKET, 0},
		{"socket-vsock", sysSocket, afVsock, syscall.SOCK_STREAM, 0},
		{"socket-vsock-high", sysSocket, upper | afVsock, syscall.SOCK_STREAM, 0},
		{"ioctl-tiocsti", syscall.SYS_IOCTL, nobody, tiocsti, 0},
		{"ioctl-tiocsti-high", syscall.SYS_IOCTL, nobody, upper | tiocsti, 0},
		{"ioctl-tioclinux", syscall.SYS_IOCTL, nobody, tioclinux, 0},
		{"ioctl-tcgets", syscall.SYS_IOCTL, nobody, tcgets, 0},
		{"clone3", 435, 0, 0, 0},
		{"clone-newuser", syscall.SYS_CLONE, newUser | cloneThread, 0, 0},
		{"clone-newuser-high", syscall.SYS_CLONE, upper | newUser | cloneThread, 0, 0},
		{"clone-thread", syscall.SYS_CLONE, cloneThread, 0, 0},
		{"unshare", syscall.SYS_UNSHARE, 0, 0, 0},
		{"personality-query", syscall.SYS_PERSONALITY, 0xffff_ffff, 0, 0},
		{"personality-norandom", syscall.SYS_PERSONALITY, 0x40000, 0, 0},
		{"keyctl", syscall.SYS_KEYCTL, nobody, 0, 0},
		{"io_uring_setup", 425, 0, 0, 0},
		{"mount", syscall.SYS_MOUNT, 0, 0, 0},
		{"fsopen", 430, 0, 0, 0},
		{"unknown", 9999, 0, 0, 0},
		{"minus-one", nobody, 0, 0, 0},
	}
}
