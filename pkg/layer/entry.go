// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Type is the kind of a directory entry.
type Type byte

// The kinds of entries. A Whiteout hides the path in all lower layers.
const (
	Regular   Type = 'f'
	Directory Type = 'd'
	Symlink   Type = 'l'
	Char      Type = 'c'
	Block     Type = 'b'
	FIFO      Type = 'p'
	Whiteout  Type = 'w'
)

// Xattr is one extended attribute.
type Xattr struct {
	Name  string
	Value string
}

// Entry is one line of a tree's index.
type Entry struct {
	Path         string // relative to the root, slashes; the root itself is "."
	Type         Type
	Mode         uint32 // permission bits with setuid, setgid and sticky
	UID, GID     uint32
	Size         int64
	Sec          int64 // modification time
	Nsec         int64
	Target       string // of a symbolic link
	Major, Minor uint32
	Xattrs       []Xattr // sorted by name
	LinkTo       string  // first name of the same inode, when this is a later one
	HasLinks     bool    // later entries of the tree link to this one
	Opaque       bool    // directory hides everything below it in lower layers
	Implicit     bool    // directory no archive entry spoke of

	Ino   uint64 // as found on disk, for CheckStat
	CSec  int64
	CNsec int64
}

// comparePaths orders paths component by component, so that a directory comes
// before what it holds and its content before its next sibling.
func comparePaths(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	n := min(len(a), len(b))
	for i := range n {
		ca, cb := a[i], b[i]
		if ca == cb {
			continue
		}
		if ca == '/' {
			return -1
		}
		if cb == '/' {
			return 1
		}
		if ca < cb {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// parentOf is the directory of a path; the parent of a top-level name is ".".
func parentOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}

// join appends a name to a path of this package.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// entryFromStat fills an entry from lstat(2).
func entryFromStat(path string, st *unix.Stat_t) Entry {
	e := Entry{
		Path: path,
		Mode: st.Mode & 0o7777,
		UID:  st.Uid,
		GID:  st.Gid,
		Sec:  st.Mtim.Sec, Nsec: st.Mtim.Nsec,
		Ino:  st.Ino,
		CSec: st.Ctim.Sec, CNsec: st.Ctim.Nsec,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type, e.Size = Regular, st.Size
	case unix.S_IFDIR:
		e.Type = Directory
	case unix.S_IFLNK:
		e.Type = Symlink
	case unix.S_IFCHR:
		e.Type = Char
	case unix.S_IFBLK:
		e.Type = Block
	case unix.S_IFIFO:
		e.Type = FIFO
	}
	if e.Type == Char || e.Type == Block {
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		if e.Type == Char && e.Major == 0 && e.Minor == 0 {
			e.Type = Whiteout
		}
	}
	return e
}
