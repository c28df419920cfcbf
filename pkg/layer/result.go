// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// WriteIndex writes the index of the tree to the file path, which is replaced
// atomically but not flushed. It records inode numbers and change times, so
// nothing in the tree may be touched after it; moving the tree is harmless.
func (r *Result) WriteIndex(ctx context.Context, path string) error {
	return replaceIndex(path, func(iw *indexWriter) error {
		if r.shadow != nil {
			return r.writeShadow(iw)
		}
		return walkTree(ctx, r.root, true, func(e *Entry) error {
			e.Implicit = r.implicit[e.Path]
			return iw.add(e)
		})
	})
}

func (r *Result) writeShadow(iw *indexWriter) error {
	if r.shadow["."] == nil {
		r.shadow["."] = &Entry{Path: ".", Type: Directory, Mode: 0o755, Implicit: true}
	}
	paths := make([]string, 0, len(r.shadow))
	for p := range r.shadow {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, comparePaths)
	first := map[uint64]string{}
	for _, p := range paths {
		e := *r.shadow[p]
		if e.Ino != 0 {
			if to, ok := first[e.Ino]; ok {
				e.LinkTo = to
			} else {
				first[e.Ino], e.HasLinks = p, true
			}
		}
		if err := iw.add(&e); err != nil {
			return err
		}
	}
	return nil
}

// Reindex writes the index of an existing tree anew, for example after it was
// restored from a backup with other inode numbers. Which directories are
// implicit is taken from the old index, if there is one.
func Reindex(ctx context.Context, s Source) error {
	implicit, err := implicitOf(s.Index)
	if err != nil {
		return err
	}
	r := &Result{root: s.Root, implicit: implicit}
	return r.WriteIndex(ctx, s.Index)
}

func implicitOf(index string) (map[string]bool, error) {
	implicit := map[string]bool{}
	r, err := OpenIndex(index)
	if errors.Is(err, fs.ErrNotExist) {
		return implicit, nil
	}
	if err != nil {
		return nil, err
	}
	defer closeQuietly(r)
	return implicit, eachEntry(r, func(e *Entry) error {
		if e.Implicit {
			implicit[e.Path] = true
		}
		return nil
	})
}

func replaceIndex(path string, fill func(*indexWriter) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-")
	if err != nil {
		return fmt.Errorf("write tree index: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write tree index %s: %w", path, err)
		}
	}()
	iw, err := newIndexWriter(f)
	if err != nil {
		return err
	}
	if err = fill(iw); err != nil {
		return err
	}
	if err = iw.close(); err != nil {
		return err
	}
	if err = f.Chmod(0o600); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
