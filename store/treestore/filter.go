// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// unpackACI unpacks an image, filtered by a part's whitelists unless that is nil.
func (t *Store) unpackACI(ctx context.Context, key appc.ImageID, dst string, x *part) (res *layer.Result, err error) {
	write := func(w io.Writer) error { return t.images.WriteACI(ctx, key, w) }
	if x != nil && x.filtered() {
		// A dropped file may have kept hard links, which come after it: what
		// becomes of it is known only after a first pass.
		links, err := scanLinks(write, x)
		if err != nil {
			return nil, err
		}
		plain := write
		write = func(w io.Writer) error {
			return pipe(plain, func(r io.Reader) error { return filter(r, w, x, links) })
		}
	}
	err = pipe(write, func(r io.Reader) error {
		res, err = layer.Unpack(ctx, r, dst, layer.UnpackOptions{ACI: true, Limits: t.limits})
		return err
	})
	return res, err
}

// pipe runs write and read at the two ends of a pipe. Either's error ends the other.
func pipe(write func(io.Writer) error, read func(io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		_ = w.CloseWithError(err) // never fails
		done <- err
	}()
	err := read(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	_ = r.CloseWithError(errors.Join(err, errReader)) // never fails
	if werr := <-done; werr != nil && !errors.Is(werr, errReader) {
		return werr // why the reader saw an early end
	}
	return err
}

// errReader tells the writing end of a pipe that the reading end gave up.
var errReader = errors.New("reader is done")

// links says under which name a dropped file lives on: the first kept hard
// link to it. origin leads from a link to the file.
type links struct {
	heir   map[string]string
	origin map[string]string
}

func (l *links) of(path string) string {
	if o, ok := l.origin[path]; ok {
		return o
	}
	return path
}

// scanLinks reads an image once.
func scanLinks(write func(io.Writer) error, x *part) (*links, error) {
	l := &links{heir: map[string]string{}, origin: map[string]string{}}
	err := pipe(write, func(r io.Reader) error {
		return eachHeader(r, func(h *tar.Header, path string, _ io.Reader) error {
			if h.Typeflag != tar.TypeLink {
				return nil
			}
			target, ok := rootPath(h.Linkname)
			if !ok {
				return fmt.Errorf("hard link %q to %q leads out of the image", h.Name, h.Linkname)
			}
			target = l.of(target)
			l.origin[path] = target
			if _, has := l.heir[target]; !has && x.keep(path, false) && !x.keep(target, false) {
				l.heir[target] = path
			}
			return nil
		})
	})
	return l, err
}

// eachHeader calls fn for every entry below rootfs.
func eachHeader(r io.Reader, fn func(h *tar.Header, path string, content io.Reader) error) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read archive: %w", err)
		}
		path, ok := rootPath(h.Name)
		if !ok && h.Name != manifestName {
			continue
		}
		if err := fn(h, path, tr); err != nil {
			return err
		}
	}
}

// filter copies those entries of an ACI that the whitelists let through.
func filter(r io.Reader, w io.Writer, x *part, l *links) error {
	tw := tar.NewWriter(w)
	err := eachHeader(r, func(h *tar.Header, path string, content io.Reader) error {
		if !choose(h, path, x, l) {
			return nil
		}
		if err := tw.WriteHeader(clean(h)); err != nil {
			return fmt.Errorf("copy %q: %w", h.Name, err)
		}
		_, err := io.Copy(tw, content)
		return err
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// choose tells whether an entry is kept, under the name it then has in h.
func choose(h *tar.Header, path string, x *part, l *links) bool {
	if h.Name == manifestName || path == "/" {
		return true
	}
	if h.Typeflag == tar.TypeLink {
		target := l.of(path)
		heir, moved := l.heir[target]
		if !x.keep(path, false) || moved && heir == path {
			return false // the content comes under this name where the target was
		}
		h.Linkname = rootfsName + target
		if moved {
			h.Linkname = rootfsName + heir
		}
		return true
	}
	if x.keep(path, h.Typeflag == tar.TypeDir) {
		return true
	}
	heir, ok := l.heir[path]
	if ok {
		h.Name = rootfsName + heir
	}
	return ok
}

// clean makes a header that was read writable: sparse files were expanded.
func clean(h *tar.Header) *tar.Header {
	c := *h
	c.Format = tar.FormatPAX
	if c.Typeflag == tar.TypeGNUSparse {
		c.Typeflag = tar.TypeReg
	}
	c.PAXRecords = maps.Clone(h.PAXRecords)
	maps.DeleteFunc(c.PAXRecords, func(k, _ string) bool { return strings.HasPrefix(k, "GNU.sparse.") })
	return &c
}

// merge makes the tree of an image with dependencies in a draft: each image is
// unpacked by itself, then they are merged, what is earlier in the list on top.
func (t *Store) merge(ctx context.Context, p *plan, dr *draft) (err error) {
	var sources []layer.Source
	var scratch []*draft
	defer func() {
		for _, s := range scratch {
			err = errors.Join(err, s.Discard())
		}
	}()
	seen := map[appc.ImageID]bool{}
	for i := range p.list {
		x := &p.list[i]
		// A second time, an unfiltered image lies wholly below its first.
		if seen[x.key] && !x.filtered() {
			continue
		}
		seen[x.key] = seen[x.key] || !x.filtered()
		s, err := t.d.newDraft(ctx)
		if err != nil {
			return err
		}
		scratch = append(scratch, s)
		res, err := t.unpackACI(ctx, x.key, s.Rootfs(), x)
		if err != nil {
			return fmt.Errorf("unpack %s: %w", x.key, err)
		}
		if err := res.WriteIndex(ctx, s.file(draftIndex)); err != nil {
			return err
		}
		sources = append([]layer.Source{s.source()}, sources...)
	}
	if err := layer.CopyMerged(ctx, dr.Rootfs(), sources, layer.CopyOptions{}); err != nil {
		return err
	}
	return layer.Reindex(ctx, dr.source())
}
