// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func (u *unpacker) setXattrs(fd int, at string, h *tar.Header) error {
	xattrs, err := xattrsOf(h, u.o.Limits)
	if err != nil {
		return err
	}
	for _, x := range xattrs {
		if err := unix.Fsetxattr(fd, x.Name, []byte(x.Value), 0); err != nil {
			return &os.PathError{Op: "setxattr " + x.Name, Path: at, Err: err}
		}
	}
	return nil
}

const paxXattr = "SCHILY.xattr."

// xattrsOf are the attributes of a header that are applied, sorted by name.
func xattrsOf(h *tar.Header, l Limits) ([]Xattr, error) {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeGNUSparse {
		return nil, nil
	}
	var out []Xattr
	size := 0
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || !keepXattr(name) {
			continue
		}
		if size += len(name) + len(value); l.XattrSize > 0 && size > l.XattrSize {
			return nil, &LimitError{What: "bytes of extended attributes in one entry", Max: int64(l.XattrSize)}
		}
		out = append(out, Xattr{Name: name, Value: value})
	}
	slices.SortFunc(out, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// owner checks the ids of a header. The highest id means "no change" to chown.
func owner(h *tar.Header) (uid, gid int, err error) {
	const noID = 1<<32 - 1
	if h.Uid < 0 || h.Uid >= noID || h.Gid < 0 || h.Gid >= noID {
		return 0, 0, fmt.Errorf("impossible owner %d:%d", h.Uid, h.Gid)
	}
	return h.Uid, h.Gid, nil
}

func modeOf(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 }

// chownMode sets owner, then mode: chown drops setuid and setgid.
func chownMode(fd int, name string, uid, gid int, mode uint32) error {
	if err := unix.Fchown(fd, uid, gid); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: err}
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	return nil
}

func closeQuietly(c io.Closer) { _ = c.Close() }
