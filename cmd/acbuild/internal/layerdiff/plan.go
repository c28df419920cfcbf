// SPDX-License-Identifier: Apache-2.0

package layerdiff

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// Plan is the difference of two trees.
type Plan struct {
	keep map[string]bool // names of the newer tree that the layer has
	gone []string        // names of the older one that it hides
}

// Compare says how to make newer of older.
func Compare(older, newer Snapshot) Plan {
	p := Plan{keep: map[string]bool{}}
	for name, e := range newer {
		if was, ok := older[name]; !ok || was != e {
			p.keep[name] = true
		}
	}
	p.addLinks(newer)
	for _, name := range slices.Sorted(maps.Keys(older)) {
		_, there := newer[name]
		// What was below something that is gone, or no directory any more, is gone with it.
		if parent := newer[path.Dir(name)]; !there && parent.dir {
			p.gone = append(p.gone, name)
		}
	}
	p.addParents(newer)
	return p
}

// addLinks takes all names of a file if there is one: no layer links to what is
// in another.
func (p *Plan) addLinks(newer Snapshot) {
	changed := map[string]bool{}
	for name, e := range newer {
		if e.link != "" && (p.keep[name] || p.keep[e.link]) {
			changed[e.link] = true
		}
	}
	for name, e := range newer {
		if changed[name] || changed[e.link] {
			p.keep[name] = true
		}
	}
}

// addParents takes the directories of what is taken, lest a layer makes up
// their owner and mode.
func (p *Plan) addParents(newer Snapshot) {
	for _, name := range append(slices.Collect(maps.Keys(p.keep)), p.gone...) {
		for name != "." && name != "/" {
			name = path.Dir(name)
			if _, ok := newer[name]; ok {
				p.keep[name] = true
			}
		}
	}
}

// Empty tells whether the trees are the same.
func (p Plan) Empty() bool { return len(p.keep) == 0 && len(p.gone) == 0 }

// Write writes the tar of the layer. r is a tar of the newer tree.
func (p Plan) Write(w io.Writer, r io.Reader) error {
	tr, tw := tar.NewReader(r), tar.NewWriter(w)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !p.keep[path.Clean(hdr.Name)] {
			continue
		}
		if err := copyEntry(tw, hdr, tr); err != nil {
			return err
		}
	}
	for _, name := range p.gone {
		dir, base := path.Split(name)
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + ".wh." + base, Mode: 0o644, Format: tar.FormatPAX}); err != nil {
			return err
		}
	}
	return tw.Close()
}

func copyEntry(tw *tar.Writer, hdr *tar.Header, content io.Reader) error {
	for key := range hdr.PAXRecords { // the reader has undone it
		if strings.HasPrefix(key, "GNU.sparse.") {
			delete(hdr.PAXRecords, key)
		}
	}
	hdr.Format = tar.FormatPAX
	if err := tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("%q: %w", hdr.Name, err)
	}
	_, err := io.Copy(tw, content)
	return err
}
