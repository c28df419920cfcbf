// SPDX-License-Identifier: Apache-2.0

package seccomp

import "golang.org/x/sys/unix"

// x32Bit marks a call through the x32 table, which shares the architecture
// number with x86_64.
const x32Bit = 0x40000000

func abis() []abi {
	return []abi{
		{arch: unix.AUDIT_ARCH_X86_64, calls: nativeCalls[:], limit: x32Bit},
		{arch: unix.AUDIT_ARCH_I386, calls: compatCalls[:]},
	}
}

// extraAllowed are calls that the default allow list has on this architecture only.
func extraAllowed() []string { return nil }
