// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"unsafe"
)

const sysSocket = 359

func tableQuestions() []question {
	args := &[3]uintptr{syscall.AF_UNIX, syscall.SOCK_STREAM, 0}
	return []question{
		{"socketcall-socket", syscall.SYS_SOCKETCALL, 1, uintptr(unsafe.Pointer(args)), 0},
		{"socketcall-listen", syscall.SYS_SOCKETCALL, 4, 0, 0},
	}
}
