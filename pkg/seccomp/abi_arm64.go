// SPDX-License-Identifier: Apache-2.0

package seccomp

import "golang.org/x/sys/unix"

func abis() []abi {
	return []abi{
		{arch: unix.AUDIT_ARCH_AARCH64, calls: nativeCalls[:]},
		{arch: unix.AUDIT_ARCH_ARM, calls: compatCalls[:]},
	}
}

// extraAllowed are calls that the default allow list has on this architecture only.
func extraAllowed() []string { return armList[:] }
