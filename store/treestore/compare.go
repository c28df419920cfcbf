// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/rkt/rkt/v2/pkg/layer"
)

// sameTrees compares a tree with another one that is known to be right. Both
// were found to agree with their indexes by lstat; here the indexes are compared
// with each other, and the contents. A difference is a *layer.ChangedError.
func sameTrees(ctx context.Context, got, want layer.Source) error {
	g, err := layer.OpenIndex(got.Index)
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }()
	w, err := layer.OpenIndex(want.Index)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	c, err := newContents(got.Root, want.Root)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, aerr := g.Next()
		b, berr := w.Next()
		switch {
		case errors.Is(aerr, io.EOF) && errors.Is(berr, io.EOF):
			return nil
		case errors.Is(aerr, io.EOF) && berr == nil:
			return &layer.ChangedError{Path: b.Path, What: "missing"}
		case errors.Is(berr, io.EOF) && aerr == nil:
			return &layer.ChangedError{Path: a.Path, What: "added"}
		case aerr != nil || berr != nil:
			return errors.Join(aerr, berr)
		}
		if !sameEntry(a, b) {
			return &layer.ChangedError{Path: a.Path, What: "metadata"}
		}
		if a.Type != layer.Regular || a.LinkTo != "" {
			continue
		}
		if err := c.same(a.Path); err != nil {
			return err
		}
	}
}

// sameEntry compares what is not particular to one copy.
func sameEntry(a, b *layer.Entry) bool {
	x, y := *a, *b
	for _, e := range []*layer.Entry{&x, &y} {
		e.Ino, e.CSec, e.CNsec, e.Xattrs, e.Implicit = 0, 0, 0, nil, false
		if e.Type == layer.Directory {
			e.Size = 0 // as the file system likes
		}
	}
	return x.Path == y.Path && x.Type == y.Type && x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID &&
		x.Size == y.Size && x.Sec == y.Sec && x.Nsec == y.Nsec && x.Target == y.Target && x.Major == y.Major &&
		x.Minor == y.Minor && x.LinkTo == y.LinkTo && x.HasLinks == y.HasLinks && x.Opaque == y.Opaque &&
		slices.Equal(a.Xattrs, b.Xattrs)
}

// contents compares files of two trees by descriptor-relative opens.
type contents struct {
	a, b       *os.Root
	bufA, bufB []byte
}

func newContents(a, b string) (*contents, error) {
	ra, err := os.OpenRoot(a)
	if err != nil {
		return nil, err
	}
	rb, err := os.OpenRoot(b)
	if err != nil {
		return nil, errors.Join(err, ra.Close())
	}
	return &contents{a: ra, b: rb, bufA: make([]byte, 64<<10), bufB: make([]byte, 64<<10)}, nil
}

func (c *contents) close() { _ = errors.Join(c.a.Close(), c.b.Close()) }

func (c *contents) same(path string) error {
	fa, err := c.a.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = fa.Close() }()
	fb, err := c.b.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = fb.Close() }()
	for {
		n, aerr := io.ReadFull(fa, c.bufA)
		m, berr := io.ReadFull(fb, c.bufB)
		if !bytes.Equal(c.bufA[:n], c.bufB[:m]) {
			return &layer.ChangedError{Path: path, What: "content"}
		}
		if ended(aerr) && ended(berr) {
			return nil
		}
		if aerr != nil || berr != nil {
			return errors.Join(aerr, berr)
		}
	}
}

func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
