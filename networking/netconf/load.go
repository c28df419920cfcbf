// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Limits of what is read. Real configurations have a few hundred bytes, real
// directories a handful of them.
const (
	maxFileSize = 1 << 20
	maxFiles    = 256
)

// Kind says what may be done with the networks of a directory.
type Kind int

// The kinds of directories.
const (
	// CNI is /etc/cni/net.d: its networks are found by name if no other
	// directory has that name, and are not part of "all".
	CNI Kind = iota + 1
	// Builtin is what stage1 brings.
	Builtin
	// User is the net.d of a configuration directory of rkt. Its networks
	// replace those of directories before it. Only there .json counts.
	User
)

// Dir is a directory of configurations.
type Dir struct {
	Path string
	Kind Kind
}

// Broken is a configuration, or a directory of them, that cannot be used.
type Broken struct {
	Path string
	Err  error
}

// String is a warning.
func (b Broken) String() string { return fmt.Sprintf("ignoring %s: %v", printable(b.Path), b.Err) }

// Message is what a person should know about a network, but only if a pod gets
// it.
type Message struct{ Network, Text string }

// Set is what the directories hold.
type Set struct {
	// Broken is what was left out, in the order of the directories.
	Broken []Broken
	// Messages are about networks that were left out for others of the same
	// name. See MessagesAbout.
	Messages []Message

	entries map[string]entry
}

// entry is the configuration that a name stands for. If it is broken it stands
// for it nevertheless: a pod must not get the network that it was to replace.
type entry struct {
	conf
	dir  Dir
	base string
	data []byte
	err  error
}

func (e entry) path() string { return filepath.Join(e.dir.Path, e.base) }

func (e entry) isChain() bool { return isChain(e.base) }

func isChain(base string) bool { return filepath.Ext(base) == ".conflist" }

// Load reads directories, which are given in rising priority. One that does not
// exist is empty.
func Load(dirs []Dir) *Set {
	s := &Set{entries: map[string]entry{}}
	for _, dir := range dirs {
		if dir.Kind != CNI {
			s.add(dir)
		}
	}
	for _, dir := range dirs {
		if dir.Kind == CNI {
			s.add(dir)
		}
	}
	return s
}

// add lays a directory over the set, or below it if its kind is CNI.
func (s *Set) add(dir Dir) {
	bases, err := list(dir)
	if err != nil {
		s.Broken = append(s.Broken, Broken{dir.Path, err})
	}
	hidden := map[string]bool{}
	for name := range s.entries {
		hidden[name] = dir.Kind == CNI
	}
	own := map[string]bool{}
	for _, base := range bases {
		e := read(dir, base)
		if e.err != nil {
			s.Broken = append(s.Broken, Broken{e.path(), e.err})
		}
		switch {
		case e.name == "" || hidden[e.name]:
		case own[e.name]:
			s.note(e.name, "%q network already defined, ignoring %s", e.name, printable(base))
		default:
			own[e.name] = true
			s.replace(e)
		}
	}
}

func (s *Set) replace(e entry) {
	if _, ok := s.entries[e.name]; ok && e.dir.Kind == User {
		s.note(e.name, "overriding %q network with one from %s", e.name, e.dir.Path)
	}
	s.entries[e.name] = e
}

func (s *Set) note(name, format string, args ...any) {
	s.Messages = append(s.Messages, Message{name, fmt.Sprintf(format, args...)})
}

// list returns the names of what may be configurations, in byte order. With an
// error it returns those that should be read nevertheless.
func list(dir Dir) ([]string, error) {
	entries, err := os.ReadDir(dir.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cause(err)
	}
	var bases []string
	for _, e := range entries {
		if !e.IsDir() && isConf(e.Name(), dir.Kind) {
			bases = append(bases, e.Name())
		}
	}
	slices.Sort(bases)
	if len(bases) > maxFiles {
		return bases[:maxFiles], fmt.Errorf("has %d configurations: all from %s on are left out", len(bases), printable(bases[maxFiles]))
	}
	return bases, nil
}

func isConf(base string, kind Kind) bool {
	switch filepath.Ext(base) {
	case ".conf", ".conflist":
		return true
	case ".json":
		return kind == User
	}
	return false
}

func read(dir Dir, base string) entry {
	e := entry{dir: dir, base: base}
	if e.data, e.err = readFile(e.path()); e.err == nil {
		e.conf, e.err = parse(e.data, e.isChain())
	}
	return e
}

// readFile reads a regular file. Others are not opened, as that may block or
// do something.
func readFile(path string) ([]byte, error) {
	if err := checkRegular(os.Stat(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }()
	if err := checkRegular(f.Stat()); err != nil { // it may be another one now
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("more than %d bytes", maxFileSize)
	}
	return data, nil
}

func checkRegular(info fs.FileInfo, err error) error {
	if err != nil {
		return cause(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	return nil
}

// cause is an error without the path, which Broken has.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
