// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

const (
	sysSocket = syscall.SYS_SOCKET
	x32       = 0x40000000
)

func tableQuestions() []question {
	return []question{
		{"x32-getppid", x32 | syscall.SYS_GETPPID, 0, 0, 0},
		{"x32-socket-vsock", x32 | syscall.SYS_SOCKET, afVsock, syscall.SOCK_STREAM, 0},
	}
}
