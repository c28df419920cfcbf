// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"modernc.org/ql"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// Schemas of rkt 1 (images.md 11.3): the last one, and the second with its
// other column names.
const (
	schema7 = `
CREATE TABLE version (version int); INSERT INTO version VALUES (7);
CREATE TABLE remote (aciurl string, sigurl string, etag string, blobkey string, cachemaxage int, downloadtime time);
CREATE UNIQUE INDEX aciurlidx ON remote (aciurl);
CREATE TABLE aciinfo (blobkey string, name string, importtime time, lastused time, latest bool, size int64 DEFAULT 0, treestoresize int64 DEFAULT 0);
CREATE UNIQUE INDEX blobkeyidx ON aciinfo (blobkey); CREATE INDEX nameidx ON aciinfo (name);`
	schema2 = `
CREATE TABLE version (version int); INSERT INTO version VALUES (2);
CREATE TABLE remote (aciurl string, sigurl string, etag string, blobkey string, cachemaxage int, downloadedtime time);
CREATE UNIQUE INDEX aciurlidx ON remote (aciurl);
CREATE TABLE aciinfo (blobkey string, appname string, importtime time, latest bool);
CREATE UNIQUE INDEX blobkeyidx ON aciinfo (blobkey);`
)

type oldStore struct {
	dir string
	db  *ql.DB
}

// newOldStore makes a CAS directory as rkt 1 left it.
func newOldStore(t *testing.T, schema string) *oldStore {
	t.Helper()
	o := &oldStore{dir: t.TempDir()}
	must(t, os.Mkdir(filepath.Join(o.dir, "db"), 0o770))
	var err error
	o.db, err = ql.OpenFile(filepath.Join(o.dir, "db", "ql.db"), &ql.Options{CanCreate: true, FileFormat: 1})
	must(t, err)
	o.run(t, schema)
	return o
}

func (o *oldStore) run(t *testing.T, stmt string, args ...any) {
	t.Helper()
	_, _, err := o.db.Run(ql.NewRWCtx(), "BEGIN TRANSACTION; "+stmt+" COMMIT;", args...)
	must(t, err)
}

// put writes blob and manifest of an image; the row is up to the test.
func (o *oldStore) put(t *testing.T, name string) (appc.ImageID, []byte) {
	t.Helper()
	m := storetest.Manifest(name, "version", "1.0")
	data := storetest.ACI(t, m, storetest.File{Name: "f", Content: name})
	id := storetest.ID(data)
	manifest, err := m.Marshal()
	must(t, err)
	for kind, content := range map[string][]byte{"blob": data, "imageManifest": manifest} {
		path := filepath.Join(o.dir, kind, "sha512", string(id[7:9]), string(id.Key()))
		must(t, os.MkdirAll(filepath.Dir(path), 0o770))
		must(t, os.WriteFile(path, content, 0o600))
	}
	return id, data
}

func TestTakeOver(t *testing.T) {
	testenv.NeedsRoot(t)
	o := newOldStore(t, schema7)
	a, data := o.put(t, "example.com/a")
	orphan, _ := o.put(t, "example.com/orphan") // blob and manifest, no row
	imported := time.Date(2017, 3, 1, 12, 0, 0, 0, time.UTC)
	used := imported.AddDate(0, 1, 0)
	o.run(t, "INSERT INTO aciinfo VALUES ($1, $2, $3, $4, true, $5, 77);", string(a.Key()), "example.com/a", imported, used, int64(len(data)))
	o.run(t, "INSERT INTO remote VALUES ($1, $2, $3, $4, 3600, $5);", "https://example.com/a.aci", "sig", "etag", string(a.Key()), imported)
	must(t, o.db.Close())
	original, err := os.ReadFile(filepath.Join(o.dir, "db", "ql.db"))
	must(t, err)

	s := openAt(t, o.dir)
	byID := map[appc.ImageID]imagestore.Info{}
	for _, i := range list(t, s) {
		byID[i.ID] = i
	}
	got := byID[a.Key()]
	if len(byID) != 2 || byID[orphan.Key()].ID == "" || got.Name != "example.com/a" || !got.ImportTime.Equal(imported) ||
		!got.LastUsed.Equal(used) || !got.Latest || got.Size != int64(len(data)) {
		t.Errorf("List = %+v", byID)
	}
	r, ok, err := s.Remote("https://example.com/a.aci")
	if err != nil || !ok || r.Key != a.Key() || r.ETag != "etag" || r.MaxAge != time.Hour || !r.Downloaded.Equal(imported) {
		t.Errorf("Remote = %+v, %t, %v", r, ok, err)
	}
	var out bytes.Buffer
	must(t, s.WriteACI(t.Context(), a, &out))
	if !bytes.Equal(out.Bytes(), data) {
		t.Error("archive changed")
	}
	backup, err := os.ReadFile(filepath.Join(o.dir, "db-backups", "0", "ql.db"))
	must(t, err)
	if !bytes.Equal(backup, original) {
		t.Error("backup differs from the original database")
	}
	// fsck reads the archives and notes the other half of the ID.
	rec, err := s.Record(a)
	must(t, err)
	if rec.ID != a.Key() {
		t.Errorf("ID before fsck: %s", rec.ID)
	}
	report, err := s.Fsck(t.Context(), true)
	must(t, err)
	if rec, err = s.Record(a); err != nil || rec.ID != a || len(report.Problems) > 0 {
		t.Errorf("after fsck: %s, %v, %+v", rec.ID, err, report.Problems)
	}
	must(t, s.Remove(t.Context(), a))
}

func TestTakeOverOldest(t *testing.T) {
	testenv.NeedsRoot(t)
	o := newOldStore(t, schema2)
	a, _ := o.put(t, "example.com/a")
	imported := time.Date(2015, 3, 1, 12, 0, 0, 0, time.UTC)
	o.run(t, "INSERT INTO aciinfo VALUES ($1, $2, $3, false);", string(a.Key()), "example.com/a", imported)
	o.run(t, "INSERT INTO remote VALUES ($1, $2, $3, $4, 0, $5);", "u", "", "", string(a.Key()), time.Time{})
	must(t, o.db.Close())
	s := openAt(t, o.dir)
	l := list(t, s)
	if len(l) != 1 || !l[0].ImportTime.Equal(imported) || l[0].Latest {
		t.Errorf("List = %+v", l)
	}
	if r, ok, err := s.Remote("u"); err != nil || !ok || r.Key != a.Key() {
		t.Errorf("Remote = %+v, %t, %v", r, ok, err)
	}
}

// TestTakeOverOddities: a blob without manifest, a manifest without blob, an
// invalid manifest, an empty database made by packaging.
func TestTakeOverOddities(t *testing.T) {
	testenv.NeedsRoot(t)
	o := newOldStore(t, schema7)
	path := func(kind string, id appc.ImageID) string {
		return filepath.Join(o.dir, kind, "sha512", string(id[7:9]), string(id.Key()))
	}
	noManifest, _ := o.put(t, "example.com/nomanifest")
	must(t, os.Remove(path("imageManifest", noManifest)))
	noBlob, _ := o.put(t, "example.com/noblob")
	must(t, os.Remove(path("blob", noBlob)))
	invalid, _ := o.put(t, "example.com/invalid")
	must(t, os.WriteFile(path("imageManifest", invalid), []byte("{"), 0o600))
	for _, id := range []appc.ImageID{noManifest, noBlob, invalid} {
		o.run(t, "INSERT INTO aciinfo VALUES ($1, $2, $3, $3, false, 0, 0);", string(id.Key()), "example.com/x", time.Now())
	}
	must(t, o.db.Close())
	s := openAt(t, o.dir)
	l := list(t, s)
	if len(l) != 1 || l[0].ID != invalid.Key() || l[0].Name != "example.com/x" {
		t.Errorf("List = %+v", l)
	}
	if _, err := s.Manifest(invalid); err == nil || errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Manifest: %v", err)
	}

	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o770))
	for _, name := range []string{"ql.db", filepath.Base(ql.WalName("ql.db"))} {
		must(t, os.WriteFile(filepath.Join(dir, "db", name), nil, 0o660))
	}
	fill(t, openAt(t, dir))
	if _, err := os.Stat(filepath.Join(dir, "db-backups")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty database was backed up: %v", err)
	}
}

// TestBackupsRotate keeps five databases, the newest as 0.
func TestBackupsRotate(t *testing.T) {
	testenv.NeedsRoot(t)
	o := newOldStore(t, schema7)
	must(t, o.db.Close())
	old, err := os.ReadFile(filepath.Join(o.dir, "db", "ql.db"))
	must(t, err)
	for range 7 {
		must(t, os.RemoveAll(filepath.Join(o.dir, "db")))
		must(t, os.Mkdir(filepath.Join(o.dir, "db"), 0o770))
		must(t, os.WriteFile(filepath.Join(o.dir, "db", "ql.db"), old, 0o660))
		list(t, openAt(t, o.dir))
	}
	for n := range 6 {
		_, err := os.Stat(filepath.Join(o.dir, "db-backups", fmt.Sprint(n), "ql.db"))
		if (err == nil) != (n < 5) {
			t.Errorf("backup %d: %v", n, err)
		}
	}
}
