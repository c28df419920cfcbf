// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Node is everything about one file that an image decides.
type Node struct {
	Mode   string
	UID    uint32
	GID    uint32
	Size   int64
	MTime  string
	Link   string // target of a symbolic link
	Rdev   uint64
	Sum    string   // of a regular file's content
	Links  []string // other names of the same inode, sorted
	Xattrs string
}

// ScanOptions leave things out of a comparison.
type ScanOptions struct {
	SkipDirTimes bool
	Skip         []string // paths relative to the root
}

// Scan describes every file below root by its path.
func Scan(t T, root string, o ScanOptions) map[string]Node {
	t.Helper()
	nodes := map[string]Node{}
	names := map[uint64][]string{}
	inode := map[string]uint64{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if slices.Contains(o.Skip, rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		n, st, err := node(p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if o.SkipDirTimes {
				n.MTime = ""
			}
		} else {
			names[st.Ino] = append(names[st.Ino], rel)
			inode[rel] = st.Ino
		}
		nodes[rel] = n
		return nil
	})
	if err != nil {
		t.Fatalf("scan %s: %v", root, err)
	}
	for rel, ino := range inode {
		if all := names[ino]; len(all) > 1 {
			n := nodes[rel]
			n.Links = slices.Sorted(slices.Values(all))
			nodes[rel] = n
		}
	}
	return nodes
}

func node(p string) (Node, unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return Node{}, st, &os.PathError{Op: "lstat", Path: p, Err: err}
	}
	n := Node{Mode: fmt.Sprintf("%o", st.Mode), UID: st.Uid, GID: st.Gid, MTime: fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.Size = st.Size
		n.Sum, err = sum(p)
	case unix.S_IFLNK:
		n.Link, err = os.Readlink(p)
	case unix.S_IFCHR, unix.S_IFBLK:
		n.Rdev = st.Rdev
	}
	if err != nil {
		return n, st, err
	}
	n.Xattrs, err = xattrs(p)
	return n, st, err
}

func sum(p string) (string, error) {
	f, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func xattrs(p string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		return "", &os.PathError{Op: "llistxattr", Path: p, Err: err}
	}
	var all []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.overlay.") || name == "security.selinux" {
			continue
		}
		val := make([]byte, 64<<10)
		l, err := unix.Lgetxattr(p, name, val)
		if err != nil {
			return "", &os.PathError{Op: "lgetxattr " + name, Path: p, Err: err}
		}
		all = append(all, fmt.Sprintf("%s=%x", name, val[:l]))
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}

// CompareTrees fails the test with every difference between two scans.
func CompareTrees(t T, wantName string, want map[string]Node, gotName string, got map[string]Node) {
	t.Helper()
	const most = 40
	bad := 0
	report := func(format string, args ...any) {
		if bad++; bad <= most {
			t.Errorf(format, args...)
		}
	}
	for p, w := range want {
		g, ok := got[p]
		if !ok {
			report("%s: in %s, missing in %s", p, wantName, gotName)
			continue
		}
		if fmt.Sprint(g) != fmt.Sprint(w) {
			report("%s differs:\n %s: %+v\n %s: %+v", p, wantName, w, gotName, g)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			report("%s: not in %s, but in %s", p, wantName, gotName)
		}
	}
	if bad > most {
		t.Errorf("… and %d more differences", bad-most)
	}
}
