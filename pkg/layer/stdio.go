// SPDX-License-Identifier: Apache-2.0

package layer

import "io"

// stdio is what every image converted from a registry gets unless a layer
// supplies it (spec images.md 9.5): the lowest of all layers, without a tree.
type stdio struct{ rest []Entry }

func newStdio() *stdio {
	link := func(path, target string) Entry {
		return Entry{Path: path, Type: Symlink, Mode: 0o777, Target: target}
	}
	return &stdio{rest: []Entry{
		{Path: ".", Type: Directory, Mode: 0o755, Implicit: true},
		{Path: "dev", Type: Directory, Mode: 0o755, Implicit: true},
		link("dev/fd", "/proc/self/fd"),
		link("dev/stderr", "/dev/console"),
		link("dev/stdin", "/proc/self/fd/0"),
		link("dev/stdout", "/dev/console"),
	}}
}

// Next returns the entries in index order.
func (s *stdio) Next() (*Entry, error) {
	if len(s.rest) == 0 {
		return nil, io.EOF
	}
	e := &s.rest[0]
	s.rest = s.rest[1:]
	return e, nil
}

// Close does nothing.
func (s *stdio) Close() error { return nil }
