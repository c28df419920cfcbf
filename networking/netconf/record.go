// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"fmt"
	"path/filepath"
)

// Parse reads a configuration whose bytes somebody has kept; path is where, and
// its ending says whether it is a list of plugins.
func Parse(path string, data []byte) (*Network, error) {
	e := entry{dir: Dir{Path: filepath.Dir(path)}, base: filepath.Base(path), data: data}
	if e.conf, e.err = parse(data, e.isChain()); e.err != nil {
		return nil, fmt.Errorf("%s: %w", printable(path), e.err)
	}
	n := e.network("")
	n.RecordName = e.base
	return &n, nil
}

// Has tells whether a directory has a network of that name, usable or not.
func (s *Set) Has(name string) bool {
	_, ok := s.entries[name]
	return ok
}
