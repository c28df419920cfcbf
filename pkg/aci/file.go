// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const statFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT

func statAt(dir *os.File, base string) (*unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(int(dir.Fd()), base, statFlags, unix.STATX_BASIC_STATS, &st)
	return &st, err
}

func statFile(f *os.File) (*unix.Statx_t, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		return nil, fmt.Errorf("stat %q: %w", f.Name(), err)
	}
	return &st, nil
}

func readlinkAt(dir *os.File, base string) (string, error) {
	buffer := make([]byte, maxNameLen+1)
	n, err := unix.Readlinkat(int(dir.Fd()), base, buffer)
	if err != nil {
		return "", err
	}
	if n > maxNameLen {
		return "", unix.ENAMETOOLONG
	}
	return string(buffer[:n]), nil
}

// xattrRecord is the prefix of PAX records for extended attributes.
const xattrRecord = "SCHILY.xattr."

// setXattrs adds the attributes that extraction restores.
func setXattrs(hdr *tar.Header, f *os.File) error {
	names, err := listXattrs(f)
	if err != nil {
		return fmt.Errorf("list extended attributes of %q: %w", hdr.Name, err)
	}
	for _, name := range names {
		if !keptXattr(name) {
			continue
		}
		value, err := getXattr(f, name)
		if err != nil {
			return fmt.Errorf("read extended attribute %q of %q: %w", name, hdr.Name, err)
		}
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[xattrRecord+name] = value
	}
	return nil
}

// keptXattr leaves out what overlayfs keeps for itself when it is mounted with
// userxattr.
func keptXattr(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

func listXattrs(f *os.File) ([]string, error) {
	list, err := growing(func(buffer []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), buffer) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	return strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 }), err
}

func getXattr(f *os.File, name string) (string, error) {
	value, err := growing(func(buffer []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), name, buffer) })
	return string(value), err
}

// growing calls get with a buffer that is large enough: get(nil) tells how
// large, which may change before the next call.
func growing(get func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := get(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		buffer := make([]byte, size)
		n, err := get(buffer)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return buffer[:n], nil
	}
}
