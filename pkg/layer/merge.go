// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Merged is one path of several layers seen together.
type Merged struct {
	Entry            // metadata of the layer that decides them
	Layer     int    // index of the layer whose tree has the content; -1: no tree, it is synthetic
	Surviving string // "" or the path, earlier in the merge, of which this is another hard link
	// Differs: an overlay mount of the trees would show other metadata here,
	// because an implicit directory lies on top of an explicit one.
	Differs bool
}

// ImplicitError is returned where a layer has files below a path that is a
// file or symbolic link in the layers under it, without saying that it is to
// become a directory.
type ImplicitError struct {
	Path  string
	Layer int
}

func (e *ImplicitError) Error() string {
	return fmt.Sprintf("layer %d has files below %q, which is not a directory in the layers under it", e.Layer+1, e.Path)
}

// Merge calls fn for every path that the layers (base first) show together,
// in index order: the root, then each directory before its content. fn must
// not keep the *Merged.
func Merge(ctx context.Context, layers []Source, fn func(*Merged) error) error {
	heads, err := openHeads(layers)
	if err != nil {
		return err
	}
	defer closeHeads(heads)
	return (&merger{ctx: ctx, heads: heads, fn: fn, groups: map[linkGroup]string{}}).run()
}

// head is one layer's reader and the entry it stands at.
type head struct {
	layer int
	r     entryReader
	e     *Entry // nil at the end
}

type entryReader interface {
	Next() (*Entry, error)
	Close() error
}

func openHeads(layers []Source) ([]*head, error) {
	var heads []*head
	for i, s := range layers {
		r, err := OpenIndex(s.Index)
		if err != nil {
			closeHeads(heads)
			return nil, err
		}
		h := &head{layer: i, r: r}
		heads = append(heads, h)
		if err := h.advance(); err != nil {
			closeHeads(heads)
			return nil, err
		}
	}
	return heads, nil
}

func closeHeads(heads []*head) {
	for _, h := range heads {
		closeQuietly(h.r)
	}
}

func (h *head) advance() error {
	e, err := h.r.Next()
	if errors.Is(err, io.EOF) {
		h.e = nil
		return nil
	}
	if err != nil {
		return err
	}
	if h.e != nil && comparePaths(h.e.Path, e.Path) >= 0 {
		return fmt.Errorf("tree index of layer %d: %q after %q: %w", h.layer+1, e.Path, h.e.Path, errFormat)
	}
	h.e = e
	return nil
}

// linkGroup is an inode: the layer and its first name there.
type linkGroup struct {
	layer int
	first string
}

// frame is a directory that is open in the merge. Below it only layers from
// floor upwards are visible.
type frame struct {
	path  string
	floor int
}

type merger struct {
	ctx    context.Context
	heads  []*head // base first
	fn     func(*Merged) error
	stack  []frame
	groups map[linkGroup]string
	steps  int
}

func (m *merger) run() error {
	var at []*head // heads at the current path, base first
	for {
		if m.steps++; m.steps%1024 == 0 {
			if err := m.ctx.Err(); err != nil {
				return err
			}
		}
		at = m.smallest(at[:0])
		if len(at) == 0 {
			return nil
		}
		if err := m.path(at); err != nil {
			return err
		}
		for _, h := range at {
			if err := h.advance(); err != nil {
				return err
			}
		}
	}
}

// smallest collects the heads that stand at the lowest path.
func (m *merger) smallest(at []*head) []*head {
	for _, h := range m.heads {
		if h.e == nil {
			continue
		}
		if len(at) == 0 {
			at = append(at, h)
			continue
		}
		switch c := comparePaths(h.e.Path, at[0].e.Path); {
		case c < 0:
			at = append(at[:0], h)
		case c == 0:
			at = append(at, h)
		}
	}
	return at
}

// path decides what the layers show at one path.
func (m *merger) path(at []*head) error {
	p := at[0].e.Path
	floor := m.heads[0].layer
	if p != "." {
		for !isAbove(m.stack[len(m.stack)-1].path, p) {
			m.stack = m.stack[:len(m.stack)-1]
		}
		if m.stack[len(m.stack)-1].path != parentOf(p) {
			return nil // something above hides the directory this is in
		}
		floor = m.stack[len(m.stack)-1].floor
	}
	for len(at) > 0 && at[0].layer < floor {
		at = at[1:]
	}
	if len(at) == 0 {
		return nil
	}
	top := at[len(at)-1]
	switch top.e.Type {
	case Whiteout:
		return nil
	case Directory:
		return m.directory(at, floor)
	}
	return m.file(top)
}

// directory merges the directories at one path, from the top layer down to
// the first thing that hides what is under it.
func (m *merger) directory(at []*head, floor int) error {
	var decides *head
	top := at[len(at)-1]
	for i := len(at) - 1; i >= 0; i-- {
		h := at[i]
		if h.e.Type == Whiteout {
			floor = h.layer + 1
			break
		}
		if h.e.Type != Directory {
			if decides == nil && h.layer >= 0 {
				return &ImplicitError{Path: h.e.Path, Layer: top.layer}
			}
			floor = h.layer + 1
			break
		}
		if decides == nil && !h.e.Implicit {
			decides = h
		}
		if h.e.Opaque {
			floor = h.layer
			break
		}
	}
	out := Merged{Layer: top.layer}
	if decides == nil {
		out.Entry = *top.e
	} else {
		out.Entry = *decides.e
		out.Differs = decides != top && !sameMetadata(decides.e, top.e)
	}
	out.Opaque = false
	m.stack = append(m.stack, frame{path: out.Path, floor: floor})
	return m.fn(&out)
}

func (m *merger) file(h *head) error {
	out := Merged{Entry: *h.e, Layer: h.layer}
	if h.e.HasLinks || h.e.LinkTo != "" {
		g := linkGroup{layer: h.layer, first: h.e.LinkTo}
		if h.e.HasLinks {
			g.first = h.e.Path
		}
		if first, ok := m.groups[g]; ok {
			out.Surviving = first
		} else {
			m.groups[g] = h.e.Path
		}
	}
	return m.fn(&out)
}

// isAbove tells whether dir is an ancestor of p.
func isAbove(dir, p string) bool {
	if dir == "." {
		return p != "."
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// sameMetadata compares what a directory's inode says.
func sameMetadata(a, b *Entry) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Sec == b.Sec && a.Nsec == b.Nsec &&
		slices.Equal(a.Xattrs, b.Xattrs)
}

// eachEntry reads an index to its end.
func eachEntry(r entryReader, fn func(*Entry) error) error {
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}
