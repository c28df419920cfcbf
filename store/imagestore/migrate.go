// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"modernc.org/ql"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
)

// oldTables is what the index of a rkt 1 knows.
type oldTables struct {
	images  map[appc.ImageID]oldImage
	remotes map[appc.ImageID][]RemoteRecord
}

type oldImage struct {
	name     string
	imported time.Time
	lastUsed time.Time
	latest   bool
	size     int64
}

// errNeedsRoot is what an unprivileged user sees before root has used the
// store once.
var errNeedsRoot = errors.New("database schema needs to be updated, re-run as root to perform the update")

// keepBackups is how many old databases stay in db-backups.
const keepBackups = 5

// migrate takes over an index of rkt 1: a copy of it goes to db-backups, its
// rows into records, and a new index takes its place. Interrupted, it starts
// over. The caller holds the lock.
func (x *index) migrate(ctx context.Context, version int64) error {
	if os.Geteuid() != 0 {
		return errNeedsRoot
	}
	if err := x.backup(); err != nil {
		return fmt.Errorf("back up the image index: %w", err)
	}
	old, err := x.readOld()
	if err != nil {
		return fmt.Errorf("read image index of version %d: %w", version, err)
	}
	if err := x.takeOver(ctx, old); err != nil {
		return fmt.Errorf("take over images of rkt 1: %w", err)
	}
	if err := failpoint.Hit("fetch.index-migrated"); err != nil {
		return err
	}
	return x.rebuild(ctx)
}

// backup copies the database directory.
func (x *index) backup() error {
	dir := filepath.Join(filepath.Dir(x.dir), backupDir)
	if err := makeDir(dir); err != nil {
		return err
	}
	if err := x.rotate("", dir, keepBackups); err != nil {
		return err
	}
	to := filepath.Join(dir, "0")
	if err := makeDir(to); err != nil {
		return err
	}
	names, err := readNames(x.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(x.dir, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(to)
}

// copyFile copies a regular file; anything else is left out.
func copyFile(from, to string) (err error) {
	st, err := os.Lstat(from)
	if err != nil || !st.Mode().IsRegular() {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Chmod(fileMode), dst.Sync(), dst.Close())
}

// readOld reads the tables of any schema version up to 7. Columns changed
// their names over time, so they are looked up by all of them.
func (x *index) readOld() (old *oldTables, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &brokenError{fmt.Errorf("panic in the database: %v", p)}
		}
	}()
	db, err := x.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	old = &oldTables{images: map[appc.ImageID]oldImage{}, remotes: map[appc.ImageID][]RemoteRecord{}}
	err = eachOldRow(db, "aciinfo", func(c oldColumns) {
		var img oldImage
		key := c.text("blobkey")
		img.name = c.text("name", "appname")
		img.imported = c.time("importtime")
		img.lastUsed = c.time("lastused", "lastusedtime")
		img.latest, _ = c["latest"].(bool)
		img.size, _ = c["size"].(int64)
		if isKey(key) {
			old.images[appc.ImageID(key)] = img
		}
	})
	if err != nil {
		return nil, err
	}
	err = eachOldRow(db, "remote", func(c oldColumns) {
		key := appc.ImageID(c.text("blobkey"))
		age, _ := c["cachemaxage"].(int64)
		old.remotes[key] = append(old.remotes[key], RemoteRecord{
			URL: c.text("aciurl"), SigURL: c.text("sigurl"), ETag: c.text("etag"), MaxAge: age,
			Downloaded: c.time("downloadtime", "downloadedtime"),
		})
	})
	return old, err
}

// oldColumns is a row by column name.
type oldColumns map[string]any

func (c oldColumns) text(name ...string) string {
	for _, n := range name {
		if s, ok := c[n].(string); ok {
			return s
		}
	}
	return ""
}

func (c oldColumns) time(name ...string) time.Time {
	for _, n := range name {
		if t, ok := c[n].(time.Time); ok {
			return t
		}
	}
	return time.Time{}
}

func eachOldRow(db *ql.DB, table string, fn func(oldColumns)) error {
	sets, _, err := db.Run(nil, "SELECT * FROM "+table+";")
	if err != nil {
		return classify(err)
	}
	names, err := sets[0].Fields()
	if err != nil {
		return classify(err)
	}
	return classify(sets[0].Do(false, func(row []any) (bool, error) {
		c := oldColumns{}
		for i, name := range names {
			c[name] = row[i]
		}
		fn(c)
		return true, nil
	}))
}

// takeOver writes a record for every image of rkt 1 that is complete. Blobs
// and manifests stay as they are.
func (s *Store) takeOver(ctx context.Context, old *oldTables) error {
	err := s.shardFiles(blobDir, keyAlgorithm, func(path, name string) error {
		if err := ctx.Err(); err != nil || !isKey(name) {
			return err
		}
		return s.takeOverImage(appc.ImageID(name), path, old)
	})
	if err != nil {
		return err
	}
	return atomicfile.SyncFS(s.dir)
}

func (s *Store) takeOverImage(key appc.ImageID, blob string, old *oldTables) error {
	if _, err := os.Stat(s.recordPath(key)); err == nil {
		return nil
	}
	st, err := os.Stat(blob)
	if err != nil {
		return err
	}
	row, known := old.images[key]
	m, err := s.readManifest(key)
	if errors.Is(err, fs.ErrNotExist) || err != nil && !known {
		return nil // 1.30 did not list it either
	}
	if err != nil {
		s.log.Warn("an image of rkt 1 has an invalid manifest", "image", key, "error", err)
		m = &appc.ImageManifest{Name: appc.Identifier(row.name)}
	}
	r := &Record{
		Version: recordVersion, ID: key, Kind: ACI, Name: m.Name, Labels: m.Labels, Size: st.Size(),
		Imported: row.imported, Latest: row.latest, Remotes: old.remotes[key],
	}
	if r.Imported.IsZero() {
		r.Imported = st.ModTime()
	}
	data, err := r.marshal()
	if err != nil {
		return err
	}
	path := s.recordPath(key)
	if err := inShard(path, func() error { return atomicfile.WriteNoSync(path, data, fileMode) }); err != nil {
		return err
	}
	if row.lastUsed.IsZero() {
		return nil
	}
	return os.Chtimes(path, time.Time{}, row.lastUsed)
}
