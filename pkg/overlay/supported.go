// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// UnsupportedError says why overlay cannot be used. It is no fault: the caller
// goes on with copies.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

const filesystems = "/proc/filesystems"

// Magic numbers of statfs(2) that unix has no name for.
const (
	aufsMagic = 0x61756673
	zfsMagic  = 0x2FC12FC1
)

// Supported returns nil if the kernel has overlayfs and dir, an existing
// directory, can hold its upper directories. A plain no is an
// *UnsupportedError; other errors say that the question could not be answered.
func Supported(dir string) error {
	if err := kernelHasOverlay(); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	switch st.Type {
	case aufsMagic:
		return &UnsupportedError{"unsupported filesystem: aufs"}
	case zfsMagic:
		return &UnsupportedError{"unsupported filesystem: zfs"}
	case unix.OVERLAYFS_SUPER_MAGIC: // the kernel refuses it as upper directory
		return &UnsupportedError{"unsupported filesystem: overlay"}
	}
	return hasEntryTypes(dir)
}

func kernelHasOverlay() error {
	ok, err := listed()
	if err != nil || ok {
		return err
	}
	// The module may just not be loaded. Failure shows in the second look.
	_ = exec.Command("modprobe", "overlay").Run()
	if ok, err = listed(); err != nil {
		return err
	}
	if !ok {
		return &UnsupportedError{"overlay entry not present in " + filesystems}
	}
	return nil
}

func listed() (bool, error) {
	data, err := os.ReadFile(filesystems)
	if err != nil {
		return false, &UnsupportedError{fmt.Sprintf("cannot open %s: %v", filesystems, err)}
	}
	return hasLine(data, "nodev\toverlay"), nil
}

func hasLine(data []byte, want string) bool {
	for line := range bytes.Lines(data) {
		if string(bytes.TrimRight(line, "\n")) == want {
			return true
		}
	}
	return false
}

// hasEntryTypes reads dir as the kernel returns it: package os hides entries
// without a type by asking for each of them.
func hasEntryTypes(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "readdir", Path: dir, Err: err}
		}
		if n <= 0 {
			return nil
		}
		if !allTyped(buf[:n]) {
			return &UnsupportedError{"unsupported filesystem: missing d_type support"}
		}
	}
}

// Layout of struct linux_dirent64 (getdents64(2)).
const (
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

func allTyped(b []byte) bool {
	for len(b) > direntName {
		if b[direntType] == unix.DT_UNKNOWN {
			return false
		}
		reclen := int(binary.NativeEndian.Uint16(b[direntReclen:]))
		if reclen <= 0 || reclen > len(b) {
			return true
		}
		b = b[reclen:]
	}
	return true
}
