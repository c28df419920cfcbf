// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Errors of Resolve (images.md 2.1).
var (
	ErrKeyPrefix  = errors.New("wrong key prefix")
	ErrIDTooShort = errors.New("image ID too short")
	ErrNoMatch    = errors.New("no image IDs found")
)

// AmbiguousError is returned for a prefix of several image IDs.
type AmbiguousError struct{ Prefix string }

func (e *AmbiguousError) Error() string { return fmt.Sprintf("ambiguous image ID: %q", e.Prefix) }

// Resolve returns the key that starts with prefix, "sha512-" and at least two
// digits; more digits than a key has are cut off. It needs no index. If no
// image matches but a removal of one was interrupted, that one's key is the
// answer, so that the removal can be repeated.
func (s *Store) Resolve(prefix string) (appc.ImageID, error) {
	digits, ok := strings.CutPrefix(prefix, keyAlgorithm+"-")
	switch {
	case !ok:
		return "", ErrKeyPrefix
	case len(digits) < 2:
		return "", ErrIDTooShort
	case strings.Trim(digits, "0123456789abcdef") != "":
		return "", ErrNoMatch // and nothing that could lead a path astray
	}
	want := string(appc.ImageID(prefix).Key())
	names, err := readNames(s.path(recordDir, keyAlgorithm, digits[:2]))
	if err != nil {
		return "", err
	}
	matches := slices.DeleteFunc(names, func(n string) bool { return !isKey(n) || !strings.HasPrefix(n, want) })
	if len(matches) == 0 {
		if matches, err = s.leftRows(want); err != nil {
			return "", err
		}
	}
	switch len(matches) {
	case 0:
		return "", ErrNoMatch
	case 1:
		return appc.ImageID(matches[0]), nil
	}
	return "", &AmbiguousError{Prefix: prefix}
}

// leftRows lists the keys of rows that start with want. The caller knows that
// none of them has a record.
func (s *Store) leftRows(want string) ([]string, error) {
	var keys []string
	err := s.index.view(context.Background(), func(t *tx) error {
		keys = nil
		rows, err := t.allImages()
		for _, r := range rows {
			if strings.HasPrefix(string(r.key), want) {
				keys = append(keys, string(r.key))
			}
		}
		return err
	})
	return keys, err
}

// NameError is returned by Find; errors.Is finds ErrNotFound in it.
type NameError struct {
	Name   appc.Identifier
	Labels appc.Labels
}

func (e *NameError) Error() string {
	return fmt.Sprintf("cannot find aci satisfying name: %q and labels: %q in the local store", e.Name, e.Labels)
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *NameError) Is(target error) bool { return target == ErrNotFound }

// Find returns the key of the image with a name and all the labels (images.md
// 11.5): without a version label, images fetched as latest come first; then
// the one imported last.
func (s *Store) Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error) {
	rows, err := s.named(name, labels)
	if err != nil {
		return "", err
	}
	rows = slices.DeleteFunc(rows, func(r imageRow) bool { return !s.hasRecord(r.key) })
	if len(rows) == 0 {
		return "", &NameError{Name: name, Labels: labels}
	}
	_, versioned := labels.Get("version")
	return slices.MaxFunc(rows, func(a, b imageRow) int {
		if !versioned && a.latest != b.latest {
			if a.latest {
				return 1
			}
			return -1
		}
		return cmp.Or(a.imported.Compare(b.imported), strings.Compare(string(a.key), string(b.key)))
	}).key, nil
}

// FindRemovable is Find for whoever wants to remove the image: if there is
// none, it also knows images whose removal was interrupted.
func (s *Store) FindRemovable(name appc.Identifier, labels appc.Labels) (appc.ImageID, error) {
	key, err := s.Find(name, labels)
	if !errors.Is(err, ErrNotFound) {
		return key, err
	}
	rows, rerr := s.named(name, labels)
	if rerr != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0].key, nil
}

// named lists the rows with a name and all the labels.
func (s *Store) named(name appc.Identifier, labels appc.Labels) ([]imageRow, error) {
	var rows []imageRow
	err := s.index.view(context.Background(), func(t *tx) error {
		var err error
		rows, err = t.imagesNamed(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rows, func(r imageRow) bool {
		return slices.ContainsFunc(labels, func(l appc.Label) bool {
			v, ok := r.labels.Get(string(l.Name))
			return !ok || v != l.Value
		})
	}), nil
}

func (s *Store) hasRecord(key appc.ImageID) bool {
	_, err := os.Lstat(s.recordPath(key))
	return err == nil
}

// Manifest returns the manifest of an image. It does not count as use.
func (s *Store) Manifest(id appc.ImageID) (*appc.ImageManifest, error) {
	key := id.Key()
	if !isKey(string(key)) || !s.hasRecord(key) {
		return nil, &NotFoundError{Key: key}
	}
	m, err := s.readManifest(key)
	if errors.Is(err, fs.ErrNotExist) && !s.hasRecord(key) {
		return nil, &NotFoundError{Key: key}
	}
	if err != nil {
		return nil, fmt.Errorf("error retrieving image manifest of %s: %w", key, err)
	}
	return m, nil
}

func (s *Store) readManifest(key appc.ImageID) (*appc.ImageManifest, error) {
	data, err := s.manifestBytes(key)
	if err != nil {
		return nil, err
	}
	return appc.ParseImageManifest(data)
}

// manifestBytes reads the manifest file as it is.
func (s *Store) manifestBytes(key appc.ImageID) ([]byte, error) {
	path := s.manifestPath(key)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > appc.MaxManifestSize {
		return nil, fmt.Errorf("read %s: file is too large", path)
	}
	return os.ReadFile(path)
}

// Record returns what the store knows about an image beside its manifest.
func (s *Store) Record(id appc.ImageID) (*Record, error) {
	key := id.Key()
	if !isKey(string(key)) {
		return nil, &NotFoundError{Key: key}
	}
	r, err := s.readRecord(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{Key: key}
	}
	return r, err
}

// Info is an image in a list.
type Info struct {
	ID         appc.ImageID // key
	Name       appc.Identifier
	Labels     appc.Labels
	Kind       Kind
	Size       int64 // of the archive and of the trees
	ImportTime time.Time
	LastUsed   time.Time
	Latest     bool

	// Err is why the manifest cannot be decoded or, if there is no Name either,
	// the record.
	Err error
}

// List returns all images, in no order. It reads the index once and looks at
// the files of each image by lstat; only records that the index misses and
// manifests that were written after the import are read.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	var rows []imageRow
	err := s.index.view(ctx, func(t *tx) error {
		var err error
		rows, err = t.allImages()
		return err
	})
	if err != nil {
		return nil, err
	}
	byKey := make(map[appc.ImageID]*imageRow, len(rows))
	for i := range rows {
		byKey[rows[i].key] = &rows[i]
	}
	list := make([]Info, 0, len(rows))
	var missed []appc.ImageID
	err = s.eachKey(func(key appc.ImageID, path string) error {
		info, err := s.info(key, path, byKey[key])
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			list = append(list, Info{ID: key, Err: fmt.Errorf("read image record: %w", err)})
			return nil
		}
		if byKey[key] == nil {
			missed = append(missed, key)
		}
		list = append(list, info)
		return ctx.Err()
	})
	if err == nil {
		err = s.addRows(ctx, missed)
	}
	return list, err
}

// addRows adds the rows of images the index misses: their import was killed
// between record and row, or is just there.
func (s *Store) addRows(ctx context.Context, keys []appc.ImageID) error {
	if len(keys) == 0 {
		return nil
	}
	return s.index.update(ctx, func(t *tx) error {
		for _, key := range keys {
			r, err := s.readRecord(key)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := t.addRecord(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) info(key appc.ImageID, path string, row *imageRow) (Info, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return Info{}, err
	}
	if row == nil {
		r, err := s.readRecord(key)
		if err != nil {
			return Info{}, err
		}
		fromRecord := rowOf(r, 0)
		row = &fromRecord
	}
	return Info{
		ID: key, Name: row.name, Labels: row.labels, Kind: row.kind, Size: row.size + row.treeSize,
		ImportTime: row.imported, LastUsed: st.ModTime(), Latest: row.latest,
		Err: s.checkManifest(key, row.imported),
	}, nil
}

// checkManifest reports a manifest that cannot be decoded. One that was not
// written since the import, when it was valid, is not read.
func (s *Store) checkManifest(key appc.ImageID, imported time.Time) error {
	st, err := os.Lstat(s.manifestPath(key))
	if err == nil && st.Size() > 0 && !st.ModTime().After(imported) {
		return nil
	}
	if err == nil {
		_, err = s.readManifest(key)
	}
	if err != nil && s.hasRecord(key) { // else it was removed meanwhile
		return fmt.Errorf("read image manifest: %w", err)
	}
	return nil
}
