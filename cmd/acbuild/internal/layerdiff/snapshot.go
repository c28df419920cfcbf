// SPDX-License-Identifier: Apache-2.0

// Package layerdiff finds what a layer has to say about a tree of which the
// layers below it are known.
//
// It works on tars alone: a snapshot is a summary of the tar of a tree, a plan
// the difference of two, and Plan.Write copies what is different out of a tar of
// the newer tree and adds whiteouts (OCI image-spec, layer.md). Names in tars
// are relative, sorted with parents first; a hard link comes after the file.
//
// That a directory has another time is no difference: making and removing a
// file there leaves that.
package layerdiff

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// entry is what a snapshot knows of a name.
type entry struct {
	sum [sha256.Size]byte
	dir bool
	// link is the first name of the file, for its other names.
	link string
}

// Snapshot is a summary of a tree. nil is one of a tree with nothing.
type Snapshot map[string]entry

// Take reads the tar of a tree.
func Take(r io.Reader) (Snapshot, error) {
	s := Snapshot{}
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		e := entry{dir: hdr.Typeflag == tar.TypeDir}
		if hdr.Typeflag == tar.TypeLink {
			e.link = path.Clean(hdr.Linkname)
		}
		if e.sum, err = sum(hdr, tr); err != nil {
			return nil, fmt.Errorf("%q: %w", hdr.Name, err)
		}
		s[path.Clean(hdr.Name)] = e
	}
}

// sum is a hash of everything that makes a difference.
func sum(hdr *tar.Header, content io.Reader) (out [sha256.Size]byte, err error) {
	h := sha256.New()
	seconds, nanos := hdr.ModTime.Unix(), hdr.ModTime.Nanosecond()
	if hdr.Typeflag == tar.TypeDir {
		seconds, nanos = 0, 0
	}
	var xattrs []string
	for _, key := range slices.Sorted(maps.Keys(hdr.PAXRecords)) {
		if strings.HasPrefix(key, "SCHILY.xattr.") {
			xattrs = append(xattrs, key, hdr.PAXRecords[key])
		}
	}
	fmt.Fprintf(h, "%c %o %d %d %d %q %d %d %d %d %q\n", hdr.Typeflag, hdr.Mode, hdr.Uid, hdr.Gid, hdr.Size, hdr.Linkname,
		hdr.Devmajor, hdr.Devminor, seconds, nanos, xattrs)
	_, err = io.Copy(h, content)
	h.Sum(out[:0])
	return out, err
}

// Write writes a snapshot in the form that Read reads: a line for each name and
// one with their number.
func (s Snapshot) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(s)) {
		e := s[name]
		fmt.Fprintf(b, "%x %t %q %q\n", e.sum, e.dir, e.link, name) // Flush has the error
	}
	fmt.Fprintf(b, "%d\n", len(s))
	return b.Flush()
}

var errDamaged = errors.New("damaged snapshot of the layers below")

// Read reads what Write wrote, and never less than that.
func Read(r io.Reader) (Snapshot, error) {
	s := Snapshot{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, errDamaged
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil {
			if n != len(s) {
				return nil, errDamaged
			}
			return s, nil
		}
		name, e, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, errDamaged
		}
		s[name] = e
	}
}

func parseLine(line string) (name string, e entry, err error) {
	digits, rest, _ := strings.Cut(line, " ")
	kind, rest, _ := strings.Cut(rest, " ")
	if n, err := hex.Decode(e.sum[:], []byte(digits[:min(len(digits), 2*len(e.sum))])); err != nil || n != len(e.sum) {
		return "", e, errDamaged
	}
	if e.dir, err = strconv.ParseBool(kind); err != nil {
		return "", e, err
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", e, err
	}
	if e.link, err = strconv.Unquote(quoted); err != nil {
		return "", e, err
	}
	name, err = strconv.Unquote(strings.TrimPrefix(rest[len(quoted):], " "))
	return name, e, err
}
