// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
)

// WriteTop makes the existing empty directory dst the tree that lies on top
// of the layers of an OCI image, so that an overlay mount of dst over them
// shows exactly what Merge and WriteACI say: directories whose metadata an
// implicit namesake would cover, and the standard stream links.
func WriteTop(ctx context.Context, dst string, layers []Source) (*Result, error) {
	b, err := newBuilder(dst, layers)
	if err != nil {
		return nil, err
	}
	defer b.close()
	t := &top{b: b}
	if err := mergeImage(ctx, layers, t.see); err != nil {
		return nil, err
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return &Result{root: dst}, nil
}

// top remembers the directories above the current path and creates them only
// when something below has to be.
type top struct {
	b     *builder
	above []pending
}

type pending struct {
	m    Merged
	made bool
}

func (t *top) see(m *Merged) error {
	for len(t.above) > 0 && !isAbove(t.above[len(t.above)-1].m.Path, m.Path) {
		t.above = t.above[:len(t.above)-1]
	}
	needed := m.Differs || m.Layer < 0
	if m.Type != Directory {
		if !needed {
			return nil
		}
		if err := t.ancestors(); err != nil {
			return err
		}
		return t.b.add(m)
	}
	t.above = append(t.above, pending{m: *m})
	// The root is always made: the overlay shows the top tree's.
	if needed && m.Layer >= 0 || m.Path == "." {
		return t.ancestors()
	}
	return nil
}

func (t *top) ancestors() error {
	for i := range t.above {
		p := &t.above[i]
		if p.made {
			continue
		}
		if err := t.b.add(&p.m); err != nil {
			return err
		}
		p.made = true
	}
	return nil
}

// CopyOptions say how owners change in a copy.
type CopyOptions struct {
	Shift uint32 // added to every uid and gid
	Count uint32 // ids of Count and above are an error; 0: no limit
}

// CopyMerged makes the existing empty directory dst a plain copy of what the
// layers (base first) show together, without whiteouts. Contents are shared
// with the layers where the file system can do that (FICLONE).
func CopyMerged(ctx context.Context, dst string, layers []Source, o CopyOptions) error {
	b, err := newBuilder(dst, layers)
	if err != nil {
		return err
	}
	defer b.close()
	b.shift, b.count = o.Shift, o.Count
	if err := Merge(ctx, layers, b.add); err != nil {
		return err
	}
	return b.finish()
}
