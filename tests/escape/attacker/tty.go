// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// terminal pushes characters into the input of the terminals it can reach.
func terminal() error {
	const linux = 0x541c // TIOCLINUX
	for _, p := range []string{"/proc/self/fd/0", "/dev/tty", "/dev/console", "/dev/pts/0"} {
		fd, err := unix.Open(p, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			refused("open "+p, err)
			continue
		}
		for name, request := range map[string]uintptr{
			"TIOCSTI": unix.TIOCSTI, "TIOCSTI with high bits": unix.TIOCSTI | 1<<32, "TIOCLINUX": linux, "TIOCLINUX with high bits": linux | 1<<32,
		} {
			c := []byte("x")
			err := raw(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&c[0])))
			if err == nil || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EFAULT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO) {
				escaped(name+" on "+p, "got through to the kernel: %v", err)
			} else {
				refused(name+" on "+p, err)
			}
		}
		_ = unix.Close(fd)
	}
	done()
	return nil
}
