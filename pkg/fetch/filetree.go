// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/compression"
)

// content is an open regular file of a fileTree.
type content struct {
	*io.SectionReader
	io.Closer
}

// fileTree is the files of a local image: a directory or an archive. Names are
// slash separated and relative. Missing files are fs.ErrNotExist.
type fileTree interface {
	open(name string) (content, error)
	close()
}

// readFile reads a small file of a tree.
func readFile(t fileTree, name string, limit int64) ([]byte, error) {
	f, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readCapped(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// dirTree is a directory; links cannot lead out of it.
type dirTree struct{ root *os.Root }

func openDir(path string) (*dirTree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &dirTree{root: root}, nil
}

func (d *dirTree) close() { _ = d.root.Close() }

func (d *dirTree) open(name string) (content, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return content{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return content{}, err
	}
	return content{io.NewSectionReader(f, 0, fi.Size()), f}, nil
}

// tarTree is a tar file with an index of where its files are. Nothing of it
// is unpacked.
type tarTree struct {
	f       *os.File
	entries map[string]tarEntry
}

type tarEntry struct {
	offset, size int64
	link         string // name of another entry; no content of its own
}

// openTar opens a tar file. A compressed one is first unpacked to a file
// without name in tempDir: layers are read in an order of their own, several at once.
func openTar(ctx context.Context, name, tempDir string) (*tarTree, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	if f, err = plain(ctx, f, tempDir); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t := &tarTree{f: f, entries: map[string]tarEntry{}}
	if err := t.index(ctx); err != nil {
		t.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func (t *tarTree) close() { _ = t.f.Close() }

// plain returns f, or a file with its decompressed content in its place.
func plain(ctx context.Context, f *os.File, tempDir string) (_ *os.File, err error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if compression.Detect(head[:n]) == compression.None {
		return f, nil
	}
	defer f.Close()
	in, _, err := compression.NewReader(until(ctx, f))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := unnamed(tempDir)
	if err != nil {
		return nil, err
	}
	written, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(in, maxArchive+1), make([]byte, copyBuffer))
	if err == nil && written > maxArchive {
		err = fmt.Errorf("archive is larger than the limit of %d bytes", int64(maxArchive))
	}
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// unnamed makes a file that is gone when it is closed.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	// Not every file system knows O_TMPFILE (open(2)).
	f, err := os.CreateTemp(dir, "archive-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

var errSparse = errors.New("sparse entries are not supported")

// index reads the headers; the tar reader seeks over the content and reads no
// byte ahead, so that the file's position is where an entry's content begins.
func (t *tarTree) index(ctx context.Context) error {
	in := tar.NewReader(t.f)
	for count := 0; ; count++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if count >= maxTarEntries {
			return fmt.Errorf("archive has more than %d entries", maxTarEntries)
		}
		if err := t.add(h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func (t *tarTree) add(h *tar.Header) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		offset, err := t.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if isSparse(h) {
			return errSparse
		}
		t.entries[name] = tarEntry{offset: offset, size: h.Size}
	case tar.TypeGNUSparse:
		return errSparse
	case tar.TypeSymlink:
		// "docker save" links equal layers; a link that leads out finds nothing.
		t.entries[name] = tarEntry{link: path.Join(path.Dir(name), h.Linkname)}
	case tar.TypeLink:
		t.entries[name] = tarEntry{link: path.Clean(h.Linkname)}
	}
	return nil
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func cleanName(name string) (string, error) {
	clean := strings.TrimPrefix(path.Clean(name), "/")
	if !fs.ValidPath(clean) && clean != "" {
		return "", fs.ErrInvalid
	}
	return clean, nil
}

func (t *tarTree) open(name string) (content, error) {
	at, err := cleanName(name)
	if err != nil {
		return content{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	for range maxLinkDepth {
		e, ok := t.entries[at]
		if !ok {
			break
		}
		if e.link == "" {
			return content{io.NewSectionReader(t.f, e.offset, e.size), io.NopCloser(nil)}, nil
		}
		at = e.link
	}
	return content{}, &missingError{name}
}

// missingError is a file that an archive does not have.
type missingError struct{ name string }

func (e *missingError) Error() string        { return fmt.Sprintf("file %q not found", e.name) }
func (e *missingError) Is(target error) bool { return target == fs.ErrNotExist }

// list returns the names of the files below a directory, sorted.
func (t *tarTree) list(dir string) []string {
	var names []string
	for name := range t.entries {
		if strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
