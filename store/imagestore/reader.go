// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// maxIndexCopy caps the index that a Reader copies.
const maxIndexCopy = 256 << 20

// Reader reads a store without ever writing below its directory, creating
// anything there or taking an exclusive lock: it is for services that run
// without privileges beside everything else. A store that is not there is an
// empty one. It is safe for concurrent use.
type Reader struct {
	s *Store

	mu    sync.Mutex
	sizes map[appc.ImageID]int64 // of the trees, from the index as of stamp
	stamp indexStamp
}

// indexStamp changes whenever the index does.
type indexStamp struct {
	modified time.Time
	size     int64
}

// NewReader returns a Reader of the CAS directory dir, which it does not touch.
// nil discards warnings.
func NewReader(dir string, logger *slog.Logger) *Reader {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Reader{s: &Store{dir: dir, log: logger}}
}

// Keys lists the keys of all images, in no order.
func (r *Reader) Keys() ([]appc.ImageID, error) {
	var keys []appc.ImageID
	err := r.s.eachKey(func(key appc.ImageID, _ string) error {
		keys = append(keys, key)
		return nil
	})
	return keys, err
}

// Resolve returns the key of the one image whose ID starts as id does. Errors
// are those of Store.Resolve.
func (r *Reader) Resolve(id string) (appc.ImageID, error) {
	digits, ok := strings.CutPrefix(id, keyAlgorithm+"-")
	switch {
	case !ok:
		return "", ErrKeyPrefix
	case len(digits) < 2:
		return "", ErrIDTooShort
	case strings.Trim(digits, "0123456789abcdef") != "":
		return "", ErrNoMatch
	}
	want := string(appc.ImageID(id).Key())
	names, err := readNames(r.s.path(recordDir, keyAlgorithm, digits[:2]))
	if err != nil {
		return "", err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !isKey(n) || !strings.HasPrefix(n, want) })
	switch len(names) {
	case 0:
		return "", ErrNoMatch
	case 1:
		return appc.ImageID(names[0]), nil
	}
	return "", &AmbiguousError{Prefix: id}
}

// Get returns an image with its manifest as it is stored. The error of an image
// that is not there is ErrNotFound.
func (r *Reader) Get(ctx context.Context, key appc.ImageID) (Info, []byte, error) {
	record, err := r.s.Record(key)
	if err != nil {
		return Info{}, nil, err
	}
	manifest, err := r.s.manifestBytes(record.ID.Key())
	if errors.Is(err, fs.ErrNotExist) && !r.s.hasRecord(key) {
		return Info{}, nil, &NotFoundError{Key: key}
	}
	row := rowOf(record, r.treeSizes(ctx)[record.ID.Key()])
	return Info{
		ID: row.key, Name: row.name, Labels: row.labels, Kind: row.kind, Size: row.size + row.treeSize,
		ImportTime: row.imported, Latest: row.latest, Err: err,
	}, manifest, nil
}

// treeSizes are the sizes of the trees, which only the index knows. Without a
// readable index there are none.
func (r *Reader) treeSizes(ctx context.Context) map[appc.ImageID]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	stamp, err := r.indexStamp()
	if err != nil {
		return nil
	}
	if r.sizes != nil && stamp == r.stamp {
		return r.sizes
	}
	sizes, err := r.readSizes(ctx)
	if err != nil {
		r.s.log.Warn("sizes of unpacked images are not known", "error", err)
		sizes = map[appc.ImageID]int64{} // until the index changes
	}
	r.sizes, r.stamp = sizes, stamp
	return sizes
}

func (r *Reader) indexStamp() (indexStamp, error) {
	st, err := os.Stat(r.s.path(indexDir, indexFile))
	if err != nil {
		return indexStamp{}, err
	}
	return indexStamp{st.ModTime(), st.Size()}, nil
}

// readSizes reads a copy of the index: the database cannot be opened without
// writing. The copy is made under a shared lock, so that no transaction is
// half-way.
func (r *Reader) readSizes(ctx context.Context) (map[appc.ImageID]int64, error) {
	tmp, err := os.MkdirTemp("", "rkt-index-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := r.copyIndex(ctx, filepath.Join(tmp, indexFile)); err != nil {
		return nil, err
	}
	sizes := map[appc.ImageID]int64{}
	x := &index{dir: tmp, log: r.s.log}
	err = x.once(false, func(t *tx) error {
		rows, err := t.allImages()
		for i := range rows {
			sizes[rows[i].key] = rows[i].treeSize
		}
		return err
	})
	return sizes, err
}

func (r *Reader) copyIndex(ctx context.Context, to string) error {
	l, err := lock.Take(ctx, r.s.path(indexDir), lock.Shared)
	if err != nil {
		return fmt.Errorf("lock image index: %w", err)
	}
	defer func() { _ = l.Close() }()
	in, err := os.Open(r.s.path(indexDir, indexFile))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, maxIndexCopy+1))
	if err == nil && n > maxIndexCopy {
		err = errors.New("image index is too large to copy")
	}
	return errors.Join(err, out.Close())
}
