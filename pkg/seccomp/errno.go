// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// maxErrno is the largest error number of the kernel's errno-base.h and errno.h.
const maxErrno = 133

// ParseErrno returns the error number of a name such as EPERM, 0 for "".
func ParseErrno(name string) (unix.Errno, error) {
	if name == "" {
		return 0, nil
	}
	if name[0] != 'E' {
		return 0, fmt.Errorf("errno must start with an 'E' character, got %s", name)
	}
	for _, r := range name {
		if (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return 0, fmt.Errorf("errno can only contain upper case or numeric characters, got %s", name)
		}
	}
	switch name { // second names of a number
	case "EWOULDBLOCK":
		return unix.EWOULDBLOCK, nil
	case "EDEADLOCK":
		return unix.EDEADLK, nil
	case "ENOTSUP", "EOPNOTSUPP":
		return unix.ENOTSUP, nil
	}
	for n := unix.Errno(1); n <= maxErrno; n++ {
		if unix.ErrnoName(n) == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unknown errno %s", name)
}
