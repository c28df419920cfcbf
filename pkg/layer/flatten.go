// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Flatten unpacks the layers of an OCI image (base first, uncompressed tars)
// one on top of the other into the existing empty directory dst, the way a
// tool without shared layers does. It is for images with a layer that cannot
// stand alone (ErrNeedsLower, *ImplicitError): links of lower layers are
// followed, always inside dst. The result is a single tree without whiteouts.
func Flatten(ctx context.Context, dst string, layers []func() (io.ReadCloser, error), o UnpackOptions) (*Result, error) {
	u, err := newUnpacker(dst, o)
	if err != nil {
		return nil, err
	}
	defer u.close()
	for i, open := range layers {
		u.mine = map[string]bool{}
		if err := u.flattenOne(ctx, open); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return u.res, u.finishDirs()
}

func (u *unpacker) flattenOne(ctx context.Context, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	err = u.stream(ctx, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return err
}

// touch notes that the present layer supplies a path and so the directories
// above it: a whiteout of the same layer spares them.
func (u *unpacker) touch(at string) {
	if u.mine == nil {
		return
	}
	for p := at; p != "." && !u.mine[p]; p = parentOf(p) {
		u.mine[p] = true
	}
}

// removeOthers removes base of u.parent as far as lower layers supplied it.
func (u *unpacker) removeOthers(base, at string) error {
	return u.removeOthersAt(u.parent, base, at)
}

func (u *unpacker) removeOthersAt(dirfd int, base, at string) error {
	if !u.mine[at] {
		return u.removeAt(dirfd, base, at)
	}
	fd, err := unix.Openat(dirfd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // no directory: what this layer put there stays
	}
	defer func() { _ = unix.Close(fd) }()
	return u.emptyOthers(fd, at)
}

// emptyOthers removes what lower layers put below a directory.
func (u *unpacker) emptyOthers(fd int, at string) error {
	list, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: at, Err: err}
	}
	d := os.NewFile(uintptr(list), at)
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return fmt.Errorf("read directory %q: %w", at, err)
	}
	for _, name := range names {
		if err := u.removeOthersAt(fd, name, join(at, name)); err != nil {
			return err
		}
	}
	return nil
}

// forget drops all notes about a path and what is below it.
func (u *unpacker) forget(at string) {
	below := func(p string) bool { return p == at || strings.HasPrefix(p, at+"/") }
	for p := range u.dirs {
		if below(p) {
			delete(u.dirs, p)
		}
	}
	for _, set := range []map[string]bool{u.res.implicit, u.whited} {
		for p := range set {
			if below(p) {
				delete(set, p)
			}
		}
	}
	for p := range u.res.shadow {
		if below(p) {
			delete(u.res.shadow, p)
		}
	}
}
