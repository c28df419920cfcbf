// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDevNotDirectory is returned for images whose /dev is something else.
var ErrDevNotDirectory = errors.New(`invalid layer: "/dev" is not a directory`)

// mergeImage is Merge for the layers of an OCI image: with the standard
// stream links below all of them.
func mergeImage(ctx context.Context, layers []Source, fn func(*Merged) error) error {
	heads, err := openHeads(layers)
	if err != nil {
		return err
	}
	defer closeHeads(heads)
	lowest := &head{layer: -1, r: newStdio()}
	if err := lowest.advance(); err != nil {
		return err
	}
	all := append([]*head{lowest}, heads...)
	m := &merger{ctx: ctx, heads: all, groups: map[linkGroup]string{}, fn: func(e *Merged) error {
		if e.Path == "dev" && e.Type != Directory {
			return ErrDevNotDirectory
		}
		return fn(e)
	}}
	return m.run()
}

// WriteACI writes the canonical squashed ACI of an OCI image: a plain tar with
// the manifest, then the merge of the layers (base first) in index order. The
// same layers and manifest give the same bytes on every machine; their SHA-512
// is the image ID. It is meant to be repeatable for ever: whatever changes a
// byte here changes image IDs (spec images.md 9.7).
func WriteACI(ctx context.Context, w io.Writer, manifest []byte, layers []Source) error {
	trees := newTrees(layers)
	defer trees.close()
	tw := tar.NewWriter(w)
	if err := writeManifest(tw, manifest); err != nil {
		return err
	}
	buf := make([]byte, 128<<10)
	err := mergeImage(ctx, layers, func(m *Merged) error { return writeMerged(tw, trees, m, buf) })
	if err != nil {
		return err
	}
	return tw.Close()
}

// headerOf is the canonical tar header of a merged entry.
func headerOf(m *Merged) *tar.Header {
	h := &tar.Header{
		Name:    "rootfs/" + m.Path,
		Mode:    int64(m.Mode),
		Uid:     int(m.UID),
		Gid:     int(m.GID),
		ModTime: time.Unix(m.Sec, m.Nsec),
		Format:  tar.FormatPAX,
	}
	if m.Surviving != "" {
		h.Typeflag, h.Linkname = tar.TypeLink, "rootfs/"+m.Surviving
		return h
	}
	switch m.Type {
	case Regular:
		h.Typeflag, h.Size = tar.TypeReg, m.Size
	case Directory:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		if m.Path == "." {
			h.Name = "rootfs/"
		}
	case Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, m.Target
	case Char, Block:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, int64(m.Major), int64(m.Minor)
		if m.Type == Block {
			h.Typeflag = tar.TypeBlock
		}
	case FIFO:
		h.Typeflag = tar.TypeFifo
	}
	for _, x := range m.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+x.Name] = x.Value
	}
	return h
}

// trees opens files of several trees; the directory used last stays open.
type trees struct {
	layers []Source
	roots  []int // descriptors, -1: not open yet
	dir    int
	dirOf  int
	dirAt  string
}

func newTrees(layers []Source) *trees {
	t := &trees{layers: layers, roots: make([]int, len(layers)), dir: -1}
	for i := range t.roots {
		t.roots[i] = -1
	}
	return t
}

func (t *trees) close() {
	for _, fd := range t.roots {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	if t.dir >= 0 {
		_ = unix.Close(t.dir)
	}
}

const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// parent is the descriptor of the directory that holds path, and its last
// component. It stays open until another directory is asked for.
func (t *trees) parent(layer int, path string) (int, string, error) {
	if t.roots[layer] < 0 {
		fd, err := unix.Open(t.layers[layer].Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, "", &os.PathError{Op: "open", Path: t.layers[layer].Root, Err: err}
		}
		t.roots[layer] = fd
	}
	dir := parentOf(path)
	base := path
	if dir != "." {
		base = path[len(dir)+1:]
	}
	if t.dir >= 0 && t.dirOf == layer && t.dirAt == dir {
		return t.dir, base, nil
	}
	fd, err := unix.Openat2(t.roots[layer], dir, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath,
	})
	if err != nil {
		return -1, "", &os.PathError{Op: "open", Path: dir, Err: err}
	}
	if t.dir >= 0 {
		_ = unix.Close(t.dir)
	}
	t.dir, t.dirOf, t.dirAt = fd, layer, dir
	return fd, base, nil
}

// open opens the regular file of a merged entry for reading.
func (t *trees) open(layer int, path string) (*os.File, error) {
	dir, base, err := t.parent(layer, path)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (t *trees) copyContent(w io.Writer, m *Merged, buf []byte) error {
	f, err := t.open(m.Layer, m.Path)
	if err != nil {
		return err
	}
	defer closeQuietly(f)
	for left := m.Size; left > 0; {
		n, err := io.ReadFull(f, buf[:min(left, int64(len(buf)))])
		if err != nil {
			return &ChangedError{Path: m.Path, What: "size"}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
