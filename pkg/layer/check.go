// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckStat compares a tree with its index by lstat(2) alone: size, mode,
// owner, times, inode and change time of every entry, and that none is
// missing or added. A difference is a *ChangedError. No file is opened, so it
// is fit for every start of a pod. Where a file system gives no lasting inode
// numbers, they are not compared (see homeFS).
func CheckStat(ctx context.Context, s Source) error {
	return compare(ctx, s, false, func(want, got *Entry) string {
		if what := differs(want, got); what != "" {
			return what
		}
		if got.Ino != 0 && want.Ino != got.Ino {
			return "inode"
		}
		if want.CSec != got.CSec || want.CNsec != got.CNsec {
			return "change time"
		}
		return ""
	})
}

// differs names the first property that lstat shows to be another one.
func differs(want, got *Entry) string {
	switch {
	case want.Type != got.Type:
		return "type"
	case want.Size != got.Size:
		return "size"
	case want.Mode != got.Mode:
		return "mode"
	case want.UID != got.UID || want.GID != got.GID:
		return "owner"
	case want.Sec != got.Sec || want.Nsec != got.Nsec:
		return "modification time"
	case want.Major != got.Major || want.Minor != got.Minor:
		return "device number"
	case want.LinkTo != got.LinkTo || want.HasLinks != got.HasLinks:
		return "hard links"
	}
	return ""
}

// compare walks tree and index side by side.
func compare(ctx context.Context, s Source, xattrs bool, diff func(want, got *Entry) string) error {
	r, err := OpenIndex(s.Index)
	if err != nil {
		return err
	}
	defer closeQuietly(r)
	err = walkTree(ctx, s.Root, xattrs, func(got *Entry) error {
		want, err := r.Next()
		if errors.Is(err, io.EOF) {
			return &ChangedError{Path: got.Path, What: "added"}
		}
		if err != nil {
			return err
		}
		switch c := comparePaths(want.Path, got.Path); {
		case c < 0:
			return &ChangedError{Path: want.Path, What: "missing"}
		case c > 0:
			return &ChangedError{Path: got.Path, What: "added"}
		}
		if what := diff(want, got); what != "" {
			return &ChangedError{Path: got.Path, What: what}
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) && !isChanged(err) {
		return &ChangedError{Path: ".", What: "missing"}
	}
	if err != nil {
		return err
	}
	want, err := r.Next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	return &ChangedError{Path: want.Path, What: "missing"}
}

func isChanged(err error) bool {
	var c *ChangedError
	return errors.As(err, &c)
}

// VerifyTar compares a tree with the uncompressed archive it was made from:
// all metadata but inode numbers and change times with the index, all contents
// with the archive. A difference is a *ChangedError.
func VerifyTar(ctx context.Context, s Source, r io.Reader, o UnpackOptions) error {
	return verify(ctx, s, o, func(v *verifier) error { return v.tar(ctx, r) })
}

// VerifyFlat is VerifyTar for a tree that Flatten made of several layers.
func VerifyFlat(ctx context.Context, s Source, layers []func() (io.ReadCloser, error), o UnpackOptions) error {
	return verify(ctx, s, o, func(v *verifier) error {
		for _, open := range layers {
			r, err := open()
			if err != nil {
				return err
			}
			err = v.tar(ctx, r)
			if cerr := r.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func verify(ctx context.Context, s Source, o UnpackOptions, contents func(*verifier) error) error {
	err := compare(ctx, s, true, func(want, got *Entry) string {
		switch {
		case differs(want, got) != "":
			return differs(want, got)
		case want.Target != got.Target:
			return "link target"
		case want.Opaque != got.Opaque || !slices.Equal(want.Xattrs, got.Xattrs):
			return "extended attributes"
		}
		return ""
	})
	if err != nil {
		return err
	}
	root, err := unix.Open(s.Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: s.Root, Err: err}
	}
	defer func() { _ = unix.Close(root) }()
	v := &verifier{o: o, root: root, bad: map[string]bool{}, a: make([]byte, 64<<10), b: make([]byte, 64<<10)}
	if err := contents(v); err != nil {
		return err
	}
	for name := range v.bad {
		return &ChangedError{Path: name, What: "content"}
	}
	return nil
}

type verifier struct {
	o    UnpackOptions
	root int
	bad  map[string]bool // differing so far: a later entry of the name decides
	a, b []byte
}

// tar compares the contents of one archive.
func (v *verifier) tar(ctx context.Context, r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := v.entry(h, tr); err != nil {
			return err
		}
	}
	if _, err := io.CopyBuffer(io.Discard, r, v.a); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	return nil
}

func (v *verifier) entry(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name, v.o.Limits.Path)
	if err != nil {
		return err
	}
	if v.o.ACI {
		below, ok := strings.CutPrefix(name, "rootfs/")
		if !ok {
			return nil
		}
		name = below
	} else if strings.Contains("/"+name, "/"+whiteoutPrefix) {
		return nil
	}
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		delete(v.bad, name) // what was there before is replaced
		return nil
	}
	same, err := v.sameContent(name, h.Size, content)
	if err != nil {
		return err
	}
	if same {
		delete(v.bad, name)
	} else {
		v.bad[name] = true
	}
	return nil
}

func (v *verifier) sameContent(name string, size int64, content io.Reader) (bool, error) {
	fd, err := unix.Openat2(v.root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		// Replaced by a later entry of another type, or gone: the metadata
		// were compared already, so this entry is not what the tree shows.
		return true, nil //nolint:nilerr // see above
	}
	f := os.NewFile(uintptr(fd), name)
	defer closeQuietly(f)
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return true, nil //nolint:nilerr // as above
	}
	for left := size; left > 0; {
		n := min(left, int64(len(v.a)))
		if _, err := io.ReadFull(content, v.a[:n]); err != nil {
			return false, fmt.Errorf("read archive: %w", noEOF(err))
		}
		if m, err := io.ReadFull(f, v.b[:n]); err != nil || int64(m) != n || !bytes.Equal(v.a[:n], v.b[:n]) {
			return false, nil //nolint:nilerr // a short file is a changed file
		}
		left -= n
	}
	return true, nil
}
