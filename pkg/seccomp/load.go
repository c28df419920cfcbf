// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Load puts the program on the calling thread, for good. Without
// CAP_SYS_ADMIN the thread must have no-new-privileges set. After it returns
// the thread may do nothing but what the policy allows: the caller executes
// the app with a raw system call at once.
func (prog Program) Load() error {
	if len(prog) == 0 {
		return nil
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("load system call filter: %w", errno)
	}
	return nil
}
