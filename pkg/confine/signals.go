// SPDX-License-Identifier: Apache-2.0

package confine

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resetLibrarySignals gives the two signals that glibc keeps to itself, 32 and
// 33, their default action: its posix_spawn(3) leaves them ignored in whatever
// make(1) starts, rkt for one, and systemd cannot reset them because glibc does not let it.
func resetLibrarySignals() error {
	// struct sigaction of rt_sigaction(2): SIG_DFL, no flags, nothing masked
	var action [4]uint64
	const maskSize = 8
	for _, sig := range []uintptr{32, 33} {
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&action)), 0, maskSize, 0, 0); errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
	}
	return nil
}
