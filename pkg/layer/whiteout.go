// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Names with a meaning in OCI layers (image-spec layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// whiteout handles a name with a component that starts with ".wh.". It hides
// lower layers only: what this layer itself supplies stays (images.md 17 #3).
func (u *unpacker) whiteout(name string) (bool, error) {
	parts := strings.Split(name, "/")
	i := slices.IndexFunc(parts, func(c string) bool { return strings.HasPrefix(c, whiteoutPrefix) })
	if i < 0 {
		return false, nil
	}
	dir := "."
	if i > 0 {
		dir = path.Join(parts[:i]...)
	}
	mark := parts[i]
	if strings.HasPrefix(mark, whiteoutMeta) && mark != whiteoutOpaque {
		return true, nil
	}
	if err := u.enter(dir); err != nil {
		return true, err
	}
	if mark == whiteoutOpaque {
		return true, u.setOpaque(u.parent, u.parentReal)
	}
	hidden := strings.TrimPrefix(mark, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return true, errors.New("whiteout without a name")
	}
	return true, u.hide(hidden)
}

// hide makes base of u.parent a whiteout. A directory this layer already
// supplies becomes opaque instead; another file hides the lower one anyway.
func (u *unpacker) hide(base string) error {
	at := join(u.parentReal, base)
	if u.mine != nil {
		return u.removeOthers(base, at)
	}
	var st unix.Stat_t
	err := unix.Fstatat(u.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		fd, err := unix.Openat(u.parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: at, Err: err}
		}
		defer func() { _ = unix.Close(fd) }()
		return u.setOpaque(fd, at)
	}
	if _, ok := u.res.shadow[at]; err == nil || ok {
		return nil
	}
	u.whited[at] = true
	if u.res.shadow != nil {
		u.res.shadow[at] = &Entry{Path: at, Type: Whiteout}
		return nil
	}
	if err := unix.Mknodat(u.parent, base, unix.S_IFCHR, 0); err != nil {
		return &os.PathError{Op: "whiteout", Path: at, Err: err}
	}
	ts := [2]unix.Timespec{}
	return unix.UtimesNanoAt(u.parent, base, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// unhide removes a whiteout of this layer, because the layer supplies the path.
func (u *unpacker) unhide(parent int, base, at string) error {
	delete(u.whited, at)
	if u.res.shadow != nil {
		delete(u.res.shadow, at)
		return nil
	}
	if err := unix.Unlinkat(parent, base, 0); err != nil {
		return &os.PathError{Op: "unlink", Path: at, Err: err}
	}
	return nil
}

func (u *unpacker) setOpaque(fd int, at string) error {
	if u.mine != nil {
		return u.emptyOthers(fd, at)
	}
	if u.res.shadow != nil {
		e := u.res.shadow[at]
		if e == nil {
			e = &Entry{Path: at, Type: Directory, Mode: 0o755, Implicit: true}
			u.res.shadow[at] = e
		}
		e.Opaque = true
		return nil
	}
	if err := unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0); err != nil {
		return &os.PathError{Op: "mark opaque", Path: at, Err: err}
	}
	return nil
}
