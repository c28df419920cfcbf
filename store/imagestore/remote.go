// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// Remote is what is known about a URL an image was fetched from.
type Remote struct {
	URL            string // as typed, or docker://REFERENCE
	SigURL         string
	ETag           string
	Key            appc.ImageID
	MaxAge         time.Duration
	Downloaded     time.Time
	ManifestDigest string // of OCI images
}

func (r Remote) record() RemoteRecord {
	return RemoteRecord{
		URL: r.URL, SigURL: r.SigURL, ETag: r.ETag, MaxAge: int64(r.MaxAge / time.Second),
		Downloaded: r.Downloaded, ManifestDigest: r.ManifestDigest,
	}
}

// Remote returns what is known about a URL. It is false if the URL is not
// known or its image is gone.
func (s *Store) Remote(url string) (Remote, bool, error) {
	return s.remote(context.Background(), url)
}

func (s *Store) remote(ctx context.Context, url string) (Remote, bool, error) {
	var row remoteRow
	var ok bool
	err := s.index.view(ctx, func(t *tx) error {
		var err error
		row, ok, err = t.remote(url)
		return err
	})
	if err != nil || !ok || !s.hasRecord(row.key) {
		return Remote{}, false, err
	}
	return Remote{
		URL: row.URL, SigURL: row.SigURL, ETag: row.ETag, Key: row.key,
		MaxAge: time.Duration(row.MaxAge) * time.Second, Downloaded: row.Downloaded, ManifestDigest: row.ManifestDigest,
	}, true, nil
}

// RefreshRemote replaces what is known about r.URL; r.Key must be in the store.
func (s *Store) RefreshRemote(r Remote) error {
	ctx := context.Background()
	key := r.Key.Key()
	if !isKey(string(key)) {
		return &NotFoundError{Key: key}
	}
	l, err := s.keyLock(ctx, string(key), lock.Exclusive)
	if err != nil {
		return fmt.Errorf("error locking image: %w", err)
	}
	defer func() { _ = l.Close() }()
	rec, err := s.readRecord(key)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{Key: key}
	}
	if err != nil {
		return err
	}
	rec.setRemote(r.record())
	if err := s.rewriteRecord(rec); err != nil {
		return err
	}
	if err := failpoint.Hit("fetch.remote-record"); err != nil {
		return err
	}
	var before remoteRow
	var known bool
	err = s.index.update(ctx, func(t *tx) error {
		var err error
		if before, known, err = t.remote(r.URL); err != nil {
			return err
		}
		return t.putRemote(remoteRow{key: key, RemoteRecord: r.record()})
	})
	if err != nil {
		return fmt.Errorf("error writing ACI Info: %w", err)
	}
	if err := failpoint.Hit("fetch.remote-row"); err != nil {
		return err
	}
	if known && before.key != key {
		s.forgetRemote(before.key, r.URL)
	}
	return nil
}

// SetVerified replaces what is recorded of the verification of an image.
func (s *Store) SetVerified(id appc.ImageID, v *Verification) error {
	key := id.Key()
	if !isKey(string(key)) {
		return &NotFoundError{Key: key}
	}
	l, err := s.keyLock(context.Background(), string(key), lock.Exclusive)
	if err != nil {
		return fmt.Errorf("error locking image: %w", err)
	}
	defer func() { _ = l.Close() }()
	rec, err := s.readRecord(key)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{Key: key}
	}
	if err != nil || rec.Verified != nil && v != nil && *rec.Verified == *v {
		return err
	}
	rec.Verified = v
	return s.rewriteRecord(rec)
}

// forgetRemote takes a URL out of the record of the image it pointed to
// before. It is tidiness only: where two records claim a URL, the later download counts.
func (s *Store) forgetRemote(key appc.ImageID, url string) {
	l, err := s.tryKeyLock(string(key))
	if err != nil {
		return
	}
	defer func() { _ = l.Close() }()
	rec, err := s.readRecord(key)
	if err != nil || !rec.dropRemote(url) {
		return
	}
	if err := s.rewriteRecord(rec); err != nil {
		s.log.Debug("could not take the former URL out of an image record", "image", key, "error", err)
	}
}

// FindOCI returns the image that was made from a manifest digest under a URL,
// if it is still complete.
func (s *Store) FindOCI(ctx context.Context, url, manifestDigest string) (appc.ImageID, bool, error) {
	r, ok, err := s.remote(ctx, url)
	if err != nil || !ok || manifestDigest == "" || r.ManifestDigest != manifestDigest {
		return "", false, err
	}
	rec, err := s.readRecord(r.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return r.Key, s.complete(rec), nil
}

// complete tells whether all files of an image are there. It does not read them.
func (s *Store) complete(r *Record) bool {
	for _, path := range s.filesOf(r) {
		if _, err := os.Lstat(path); err != nil {
			return false
		}
	}
	return true
}

// filesOf lists the files an image consists of.
func (s *Store) filesOf(r *Record) []string {
	list := []string{s.manifestPath(r.ID.Key())}
	if r.Kind == ACI {
		return append(list, s.aciPath(r.ID.Key()))
	}
	for _, b := range r.blobs() {
		if d, err := parseDigest(b); err == nil {
			list = append(list, s.blobPath(d))
		}
	}
	return list
}

// SetTreeSizes notes the size of the trees of images; 0 for those that have
// none any more. Images the index does not have are skipped.
func (s *Store) SetTreeSizes(ctx context.Context, sizes map[appc.ImageID]int64) error {
	if len(sizes) == 0 {
		return nil
	}
	changed := false
	err := s.index.view(ctx, func(t *tx) error {
		for key, size := range sizes {
			row, ok, err := t.image(key.Key())
			if err != nil {
				return err
			}
			changed = changed || ok && row.treeSize != size
		}
		return nil
	})
	if err != nil || !changed {
		return err
	}
	return s.index.update(ctx, func(t *tx) error {
		for key, size := range sizes {
			if err := t.setTreeSize(key.Key(), size); err != nil {
				return err
			}
		}
		return nil
	})
}
