// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// tree is the root file system of an image: what is where. Paths have no
// slash in front.
type tree map[string]node

type node struct {
	kind byte // as in a tar header
	mode int64
	body []byte
	link string
}

func (t tree) file(name string, mode int64, body []byte) {
	t.put(name, node{kind: tar.TypeReg, mode: mode, body: body})
}

func (t tree) symlink(name, target string) {
	t.put(name, node{kind: tar.TypeSymlink, mode: 0o777, link: target})
}

func (t tree) hardlink(name, target string) {
	t.put(name, node{kind: tar.TypeLink, mode: 0o755, link: target})
}

func (t tree) dir(name string, mode int64) {
	t.put(name, node{kind: tar.TypeDir, mode: mode})
}

// put also makes the directories above.
func (t tree) put(name string, n node) {
	t[name] = n
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if _, ok := t[dir]; ok {
			return
		}
		t[dir] = node{kind: tar.TypeDir, mode: 0o755}
		if dir == "." {
			return
		}
	}
}

// addDir takes the files, links and directories below dir. Their modes are
// those of a checkout, which depend on the umask, and do not count.
func (t tree) addDir(dir string) error {
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		switch e.Type() {
		case fs.ModeDir:
			t.dir(name, 0o755)
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			t.symlink(name, target)
		case 0:
			body, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			t.file(name, 0o644, body)
		default:
			return fmt.Errorf("%s is neither file, link nor directory", p)
		}
		return nil
	})
}

// write makes an image archive of the tree. Everything is root's and of the
// epoch, in the order of the names, so equal trees give equal bytes.
func (t tree) write(manifest []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, n node) error {
		h := &tar.Header{
			Typeflag: n.kind, Name: name, Linkname: n.link, Mode: n.mode,
			Size: int64(len(n.body)), Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_, err := w.Write(n.body)
		return err
	}
	if err := add("manifest", node{kind: tar.TypeReg, mode: 0o644, body: manifest}); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		n := t[name]
		inArchive := path.Join("rootfs", name)
		switch n.kind {
		case tar.TypeDir:
			inArchive += "/"
		case tar.TypeLink:
			if n.link >= name || t[n.link].kind != tar.TypeReg {
				return nil, fmt.Errorf("%s is a hard link to %s, which is no file before it", name, n.link)
			}
			n.link = path.Join("rootfs", n.link)
		}
		if err := add(inArchive, n); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
