// SPDX-License-Identifier: Apache-2.0

package devfilter

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attach puts the rules on a cgroup of version 2 for good: on every process in
// it and below, whenever it came. dir is its directory; the hierarchy needs no
// controller for it. Programs that are attached already stay, and all of them
// must allow an access, as must those of the parents.
func Attach(dir string, rules []Rule) error {
	prog, err := compile(rules)
	if err != nil {
		return err
	}
	group, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open cgroup: %w", err)
	}
	defer group.Close()
	fd, err := loadProgram(prog)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // the cgroup holds the program
	attr := struct{ target, prog, kind, flags uint32 }{
		uint32(group.Fd()), uint32(fd), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI,
	}
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return fmt.Errorf("attach device filter to %s: %w", dir, err)
	}
	return nil
}

// loadAttr is the part of union bpf_attr that BPF_PROG_LOAD reads, up to the
// name of the program.
type loadAttr struct {
	kind, count    uint32
	insns, license uint64
	logLevel       uint32
	logSize        uint32
	logBuf         uint64
	kernel, flags  uint32
	name           [unix.BPF_OBJ_NAME_LEN]byte
}

func loadProgram(prog []instruction) (int, error) {
	license := []byte("Apache-2.0\x00")
	var pin runtime.Pinner // the kernel gets the addresses as numbers
	defer pin.Unpin()
	pin.Pin(&prog[0])
	pin.Pin(&license[0])
	attr := loadAttr{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(prog)),
		insns: uint64(uintptr(unsafe.Pointer(&prog[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:], "rkt_devices")
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return -1, fmt.Errorf("load device filter of %d instructions: %w", len(prog), err)
	}
	return fd, nil
}

func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN, unix.EINTR: // the verifier yields to signals
			continue
		}
		return -1, errno
	}
}
