// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// UnpackOptions say what kind of archive is unpacked and by whom.
type UnpackOptions struct {
	// ACI: the names are "manifest" and "rootfs/…", nothing else, none twice,
	// and there are no whiteouts. Otherwise it is an OCI layer.
	ACI bool
	// Unprivileged leaves owners, devices and whiteouts in memory only: enough
	// for the image ID, not for running the tree.
	Unprivileged bool
	Limits       Limits
}

// Result describes an unpacked archive.
type Result struct {
	Manifest []byte // of an ACI
	Entries  int64
	Bytes    int64 // apparent size of all regular files

	root     string
	implicit map[string]bool   // directories no entry spoke of
	shadow   map[string]*Entry // what an unprivileged unpack could not do
}

// ErrNoManifest and ErrNoRootfs are returned for archives that are no ACI.
var (
	ErrNoManifest = errors.New("no image manifest found in layout")
	ErrNoRootfs   = errors.New("no rootfs found in layout")
)

// Unpack reads the uncompressed tar r to its end and makes the existing empty
// directory dst its tree. On error dst holds garbage that the caller removes.
// Nothing outside dst is touched whatever the archive says. Memory does not
// grow with file sizes, only with the number of directories.
func Unpack(ctx context.Context, r io.Reader, dst string, o UnpackOptions) (*Result, error) {
	u, err := newUnpacker(dst, o)
	if err != nil {
		return nil, err
	}
	defer u.close()
	if err := u.stream(ctx, r); err != nil {
		return nil, err
	}
	if o.ACI && u.res.Manifest == nil {
		return nil, ErrNoManifest
	}
	if o.ACI && !u.sawRoot {
		return nil, ErrNoRootfs
	}
	if err := u.finishDirs(); err != nil {
		return nil, err
	}
	return u.res, nil
}

// stream applies a tar and reads on to the end of r: what follows the end
// marker belongs to the digest of the stream, and so does the rest of a layer
// that turns out to need the ones below.
func (u *unpacker) stream(ctx context.Context, r io.Reader) error {
	err := u.all(ctx, tar.NewReader(r))
	if err != nil && !errors.Is(err, ErrNeedsLower) {
		return err
	}
	if _, cerr := io.CopyBuffer(io.Discard, r, u.buf); cerr != nil {
		return fmt.Errorf("read archive: %w", cerr)
	}
	return err
}

// unpacker holds one unpacking. Directories get their times at the end,
// because everything created in them changes those.
type unpacker struct {
	o       UnpackOptions
	root    int // descriptor of dst
	res     *Result
	dirs    map[string]*tar.Header // explicit directories, by real path
	whited  map[string]bool        // whiteouts made by this layer
	mine    map[string]bool        // Flatten only: what the present layer supplies
	sawRoot bool
	buf     []byte

	parent     int    // descriptor of the directory used last, or -1
	parentName string // its name as written in the archive
	parentReal string // its path without links
}

func newUnpacker(dst string, o UnpackOptions) (*unpacker, error) {
	fd, err := unix.Open(dst, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dst, Err: err}
	}
	u := &unpacker{
		o: o, root: fd, parent: -1,
		res:    &Result{root: dst, implicit: map[string]bool{".": true}},
		dirs:   map[string]*tar.Header{},
		whited: map[string]bool{},
		buf:    make([]byte, 64<<10),
	}
	if o.Unprivileged {
		u.res.shadow = map[string]*Entry{}
	}
	return u, nil
}

func (u *unpacker) close() {
	u.forgetParent()
	_ = unix.Close(u.root)
}

func (u *unpacker) all(ctx context.Context, tr *tar.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read archive: %w", err)
		}
		u.res.Entries++
		if m := u.o.Limits.Entries; m > 0 && u.res.Entries > m {
			return &LimitError{What: "entries", Max: m}
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := u.one(h, tr); err != nil {
			return fmt.Errorf("could not extract file %q: %w", h.Name, err)
		}
	}
}

// one applies one tar entry.
func (u *unpacker) one(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name, u.o.Limits.Path)
	if err != nil {
		return err
	}
	if u.o.ACI {
		done, below, err := u.aciName(name, h, content)
		if done || err != nil {
			return err
		}
		name = below
	}
	if err := u.checkSize(h); err != nil {
		return err
	}
	if !u.o.ACI {
		if done, err := u.whiteout(name); done || err != nil {
			return err
		}
	}
	if name == "." {
		return u.rootEntry(h)
	}
	dir, base := path.Split(name)
	if err := u.enter(path.Clean(dir)); err != nil {
		return err
	}
	return u.place(base, h, content)
}

// cleanName makes an entry name relative to the root. An absolute name counts
// from the root; one that climbs out, or is no path, is refused.
func cleanName(name string, limit int) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("name contains a NUL byte")
	}
	if limit > 0 && len(name) > limit {
		return "", &LimitError{What: "bytes in a name", Max: int64(limit)}
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", errors.New("name climbs out of the image with \"..\"")
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/") + rootDot(name), nil
}

// rootDot is "." for names that mean the root itself, "" for all others.
func rootDot(name string) string {
	if path.Clean("/"+name) == "/" {
		return "."
	}
	return ""
}

// aciName handles what is special about names in an ACI. done means that the
// entry is dealt with; otherwise below is its path below rootfs.
func (u *unpacker) aciName(name string, h *tar.Header, content io.Reader) (done bool, below string, err error) {
	if name == "." && h.Typeflag == tar.TypeDir {
		return true, "", nil
	}
	switch {
	case name == "manifest":
		if u.res.Manifest != nil {
			return true, "", duplicate(name)
		}
		return true, "", u.manifest(h, content)
	case name == "rootfs":
		if h.Typeflag != tar.TypeDir {
			return true, "", errors.New("rootfs is not a directory")
		}
		if u.dirs["."] != nil {
			return true, "", duplicate(name)
		}
		u.sawRoot = true
		return false, ".", nil
	case strings.HasPrefix(name, "rootfs/"):
		u.sawRoot = true
		return false, strings.TrimPrefix(name, "rootfs/"), nil
	}
	return true, "", fmt.Errorf("unrecognized file path in layout: %q", name)
}

func duplicate(name string) error {
	return fmt.Errorf("duplicate file entry in archive: %s", name)
}

func (u *unpacker) manifest(h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return errors.New("manifest is not a regular file")
	}
	if m := u.o.Limits.Manifest; m > 0 && h.Size > m {
		return &LimitError{What: "bytes of manifest", Max: m}
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	u.res.Manifest = data
	return nil
}

// checkSize refuses what cannot fit before a byte of it is written.
func (u *unpacker) checkSize(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		return nil
	}
	if h.Size < 0 {
		return fmt.Errorf("impossible size %d", h.Size)
	}
	m := u.o.Limits.Bytes
	if m > 0 && (h.Size > m || u.res.Bytes > m-h.Size) {
		return &LimitError{What: "unpacked bytes", Max: m}
	}
	u.res.Bytes += h.Size
	return nil
}

// rootEntry takes the metadata of the root from its entry.
func (u *unpacker) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("the root of the image is not a directory")
	}
	delete(u.res.implicit, ".")
	u.dirs["."] = h
	return u.dirMeta(u.root, ".", h)
}

// finishDirs sets the times of all directories, children before parents.
func (u *unpacker) finishDirs() error {
	u.forgetParent()
	if u.res.shadow != nil {
		return nil
	}
	names := make([]string, 0, len(u.dirs)+len(u.res.implicit))
	for name := range u.dirs {
		names = append(names, name)
	}
	for name := range u.res.implicit {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return comparePaths(b, a) })
	for _, name := range names {
		if err := u.dirTimes(name, u.dirs[name]); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) dirTimes(name string, h *tar.Header) error {
	fd, err := unix.Openat2(u.root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	ts := [2]unix.Timespec{}
	if h != nil {
		ts = timesOf(h)
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd, ""), ts[:], 0); err != nil {
		return &os.PathError{Op: "utimensat", Path: name, Err: err}
	}
	return nil
}

// timesOf is access and modification time; a header without access time means
// the epoch (spec images.md 10.9).
func timesOf(h *tar.Header) [2]unix.Timespec {
	var ts [2]unix.Timespec
	if !h.AccessTime.IsZero() {
		ts[0] = unix.Timespec{Sec: h.AccessTime.Unix(), Nsec: int64(h.AccessTime.Nanosecond())}
	}
	ts[1] = unix.Timespec{Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())}
	return ts
}
