// SPDX-License-Identifier: Apache-2.0

package front

import (
	"os"
	"path/filepath"
	"strings"
)

// shipped is a shipped plugin: dir has its front, and upstream below it.
type shipped struct{ dir, name string }

// findShipped tells whether a path is that of a shipped plugin. A user's plugin
// may have the same name and lie in a directory that is called the same, but has
// no upstream program beside it.
func findShipped(path string) (shipped, bool) {
	s := shipped{filepath.Dir(path), filepath.Base(path)}
	if !IsPlugin(s.name) || !endsIn(s.dir, Dir) {
		return shipped{}, false
	}
	beside := s.upstream()
	if s.name == Flannel {
		beside = filepath.Dir(beside)
	}
	_, err := os.Stat(beside)
	return s, err == nil
}

func (s shipped) upstream() string { return filepath.Join(s.dir, Upstream, s.name) }

func endsIn(dir, end string) bool {
	dir = filepath.Clean(dir)
	return dir == end || strings.HasSuffix(dir, "/"+end)
}

// own is the shipped plugin of that name, seen from a program that is one of
// them or lies where rkt's network program does.
func own(program, name string) shipped {
	dir := filepath.Dir(program)
	if !endsIn(dir, Dir) {
		dir = filepath.Join(dir, "plugins", "net")
	}
	return shipped{dir, name}
}
