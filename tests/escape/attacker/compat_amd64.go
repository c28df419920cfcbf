// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// int80 makes a system call of the 32-bit table.
func int80(nr, a, b, c uintptr) uintptr

// compatTries go around the filter by the other tables of the processor.
func compatTries() []try {
	const (
		socket32, socketcall32, keyctl32, mount32, unshare32, ioctl32 = 359, 102, 288, 21, 310, 54
		x32                                                           = 0x40000000
	)
	return []try{
		{"compat.socket-alg", func() error { return errno32(int80(socket32, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)) }},
		{"compat.socket-vsock", func() error { return errno32(int80(socket32, unix.AF_VSOCK, unix.SOCK_STREAM, 0)) }},
		{"compat.socketcall-alg", func() error { return socketcall(unix.AF_ALG, unix.SOCK_SEQPACKET) }},
		{"compat.socketcall-vsock", func() error { return socketcall(unix.AF_VSOCK, unix.SOCK_STREAM) }},
		{"compat.keyctl", func() error { return errno32(int80(keyctl32, 0, ^uintptr(2), 1)) }},
		{"compat.unshare-user", func() error { return errno32(int80(unshare32, unix.CLONE_NEWUSER, 0, 0)) }},
		{"compat.mount", func() error { return reachedKernel(errno32(int80(mount32, 0, 0, 0))) }},
		{"compat.tiocsti", func() error { return errnoOfTerminal(errno32(int80(ioctl32, 0, unix.TIOCSTI, 0))) }},
		{"compat.x32-keyctl", func() error { return raw(x32|unix.SYS_KEYCTL, 0, ^uintptr(2), 1) }},
		{"compat.x32-mount", func() error { return reachedKernel(raw(x32|unix.SYS_MOUNT, 0, 0, 0)) }},
		{"compat.x32-unshare", func() error { return raw(x32|unix.SYS_UNSHARE, unix.CLONE_NEWUSER) }},
	}
}

// socketcall calls socket through the old multiplexer, whose arguments lie in
// memory where no filter can see them.
func socketcall(family, kind uint32) error {
	const socketcall32, callSocket, map32bit = 102, 1, 0x40
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|map32bit)
	if err != nil {
		return err
	}
	args := (*[3]uint32)(unsafe.Pointer(&mem[0]))
	args[0], args[1] = family, kind
	return errno32(int80(socketcall32, callSocket, uintptr(unsafe.Pointer(&mem[0])), 0))
}

// errno32 is the error of a 32-bit call.
func errno32(ret uintptr) error {
	if n := int32(ret); n < 0 && n > -4096 {
		return unix.Errno(-n)
	}
	return nil
}

// errnoOfTerminal: the kernel looked at the descriptor, so nobody stopped the
// call before.
func errnoOfTerminal(err error) error {
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EFAULT) || errors.Is(err, unix.EIO) {
		return nil
	}
	return err
}
