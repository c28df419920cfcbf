// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"modernc.org/ql"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// schema has the tables of images.md 11.3 with columns appended. check is a
// CRC of the row: a database with random bytes in it can still read fluently.
const schema = `
CREATE TABLE version (version int);
INSERT INTO version VALUES ($1);
CREATE TABLE remote (aciurl string, sigurl string, etag string, blobkey string, cachemaxage int, downloadtime time, manifestdigest string, check int);
CREATE UNIQUE INDEX aciurlidx ON remote (aciurl);
CREATE TABLE aciinfo (blobkey string, name string, importtime time, lastused time, latest bool, size int64, treestoresize int64, kind string, labels string, check int);
CREATE UNIQUE INDEX blobkeyidx ON aciinfo (blobkey);
CREATE INDEX nameidx ON aciinfo (name);
`

const (
	imageColumns  = "blobkey, name, importtime, lastused, latest, size, treestoresize, kind, labels, check"
	remoteColumns = "aciurl, sigurl, etag, blobkey, cachemaxage, downloadtime, manifestdigest, check"
)

// imageRow is a row of aciinfo.
type imageRow struct {
	key      appc.ImageID
	name     appc.Identifier
	imported time.Time
	lastUsed time.Time // as of the import; the record's mtime is newer
	latest   bool
	size     int64
	treeSize int64
	kind     Kind
	labels   appc.Labels
}

// remoteRow is a row of remote.
type remoteRow struct {
	key appc.ImageID
	RemoteRecord
}

// rowOf is the row of a record.
func rowOf(r *Record, treeSize int64) imageRow {
	return imageRow{
		key: r.ID.Key(), name: r.Name, imported: r.Imported, lastUsed: r.Imported, latest: r.Latest,
		size: r.Size, treeSize: treeSize, kind: r.Kind, labels: r.Labels,
	}
}

// tx is the index open in a transaction.
type tx struct {
	db  *ql.DB
	ctx *ql.TCtx // nil for readers
}

func (t *tx) run(stmts string, args ...any) error {
	_, _, err := t.db.Run(t.ctx, stmts, args...)
	return classify(err)
}

func (t *tx) query(stmt string, args ...any) ([][]any, error) {
	sets, _, err := t.db.Run(t.ctx, stmt+";", args...)
	if err != nil {
		return nil, classify(err)
	}
	if len(sets) != 1 {
		return nil, &brokenError{fmt.Errorf("%q gave %d results", stmt, len(sets))}
	}
	rows, err := sets[0].Rows(-1, 0)
	return rows, classify(err)
}

func (t *tx) images(where string, args ...any) ([]imageRow, error) {
	rows, err := t.query("SELECT "+imageColumns+" FROM aciinfo "+where, args...)
	if err != nil {
		return nil, err
	}
	list := make([]imageRow, len(rows))
	for i, row := range rows {
		if list[i], err = scanImage(row); err != nil {
			return nil, &brokenError{err}
		}
	}
	return list, nil
}

func (t *tx) allImages() ([]imageRow, error) { return t.images("") }

func (t *tx) imagesNamed(name appc.Identifier) ([]imageRow, error) {
	return t.images("WHERE name == $1", string(name))
}

func (t *tx) image(key appc.ImageID) (imageRow, bool, error) {
	list, err := t.images("WHERE blobkey == $1", string(key))
	if err != nil || len(list) == 0 {
		return imageRow{}, false, err
	}
	return list[0], true, nil
}

func (t *tx) remotes(where string, args ...any) ([]remoteRow, error) {
	rows, err := t.query("SELECT "+remoteColumns+" FROM remote "+where, args...)
	if err != nil {
		return nil, err
	}
	list := make([]remoteRow, len(rows))
	for i, row := range rows {
		if list[i], err = scanRemote(row); err != nil {
			return nil, &brokenError{err}
		}
	}
	return list, nil
}

func (t *tx) remote(url string) (remoteRow, bool, error) {
	list, err := t.remotes("WHERE aciurl == $1", url)
	if err != nil || len(list) == 0 {
		return remoteRow{}, false, err
	}
	return list[0], true, nil
}

// putImage replaces the row of an image; the tree size survives unless the new row has one.
func (t *tx) putImage(r imageRow) error {
	old, ok, err := t.image(r.key)
	if err != nil {
		return err
	}
	if ok && r.treeSize == 0 {
		r.treeSize = old.treeSize
	}
	if err := t.run("DELETE FROM aciinfo WHERE blobkey == $1;", string(r.key)); err != nil {
		return err
	}
	return t.insertImage(&r)
}

// addRecord adds what the index misses of an image. A URL that leads to
// another image, or is fresher, stays as it is.
func (t *tx) addRecord(r *Record) error {
	key := r.ID.Key()
	if _, ok, err := t.image(key); err != nil || ok {
		return err
	}
	row := rowOf(r, 0)
	if err := t.insertImage(&row); err != nil {
		return err
	}
	for _, rr := range r.Remotes {
		old, ok, err := t.remote(rr.URL)
		if err != nil {
			return err
		}
		if ok && !old.Downloaded.Before(rr.Downloaded) {
			continue
		}
		if err := t.putRemote(remoteRow{key: key, RemoteRecord: rr}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) insertImage(r *imageRow) error {
	labels := packLabels(r.labels)
	imported, used := r.imported.UTC(), r.lastUsed.UTC()
	sum := rowSum(string(r.key), string(r.name), imported, used, r.latest, r.size, r.treeSize, string(r.kind), labels)
	return t.run("INSERT INTO aciinfo ("+imageColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);",
		string(r.key), string(r.name), imported, used, r.latest, r.size, r.treeSize, string(r.kind), labels, sum)
}

// deleteImage drops the row of an image and those of its remotes.
func (t *tx) deleteImage(key appc.ImageID) error {
	return t.run("DELETE FROM aciinfo WHERE blobkey == $1; DELETE FROM remote WHERE blobkey == $1;", string(key))
}

func (t *tx) putRemote(r remoteRow) error {
	if err := t.run("DELETE FROM remote WHERE aciurl == $1;", r.URL); err != nil {
		return err
	}
	return t.insertRemote(&r)
}

func (t *tx) insertRemote(r *remoteRow) error {
	at := r.Downloaded.UTC()
	sum := rowSum(r.URL, r.SigURL, r.ETag, string(r.key), r.MaxAge, at, r.ManifestDigest)
	return t.run("INSERT INTO remote ("+remoteColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8);",
		r.URL, r.SigURL, r.ETag, string(r.key), r.MaxAge, at, r.ManifestDigest, sum)
}

// rowSum is a checksum of the columns before it.
func rowSum(columns ...any) int64 {
	var b []byte
	for _, c := range columns {
		switch v := c.(type) {
		case string:
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		case int64:
			b = binary.AppendVarint(b, v)
		case bool:
			b = fmt.Appendf(b, "%t", v)
		case time.Time:
			b = v.UTC().AppendFormat(b, time.RFC3339Nano)
		}
	}
	return int64(crc32.ChecksumIEEE(b))
}

// checkRow verifies the number of columns and the checksum in the last one.
func checkRow(row []any, n int) error {
	if len(row) != n {
		return fmt.Errorf("row has %d columns, expected %d", len(row), n)
	}
	if row[n-1] != rowSum(row[:n-1]...) {
		return fmt.Errorf("checksum of row %q is wrong", row[0])
	}
	return nil
}

func scanImage(row []any) (r imageRow, err error) {
	if err := checkRow(row, 10); err != nil {
		return r, err
	}
	var key, name, kind, labels string
	ok := set(&key, row[0]) && set(&name, row[1]) && set(&r.imported, row[2]) && set(&r.lastUsed, row[3]) &&
		set(&r.latest, row[4]) && set(&r.size, row[5]) && set(&r.treeSize, row[6]) && set(&kind, row[7]) && set(&labels, row[8])
	if !ok || !isKey(key) {
		return r, fmt.Errorf("bad row %q", row)
	}
	r.key, r.name, r.kind = appc.ImageID(key), appc.Identifier(name), Kind(kind)
	if r.labels, ok = unpackLabels(labels); !ok {
		return r, fmt.Errorf("bad labels in row %q", key)
	}
	return r, nil
}

// packLabels writes names and values, each after its length: a list of
// thousands of images decodes them all, and JSON would take most of its time.
func packLabels(labels appc.Labels) string {
	var b []byte
	for _, l := range labels {
		for _, s := range []string{string(l.Name), l.Value} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return string(b)
}

func unpackLabels(packed string) (appc.Labels, bool) {
	var labels appc.Labels
	b := []byte(packed)
	next := func() (string, bool) {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return "", false
		}
		s := string(b[w : w+int(n)])
		b = b[w+int(n):]
		return s, true
	}
	for len(b) > 0 {
		name, ok := next()
		value, ok2 := next()
		if !ok || !ok2 {
			return nil, false
		}
		labels = append(labels, appc.Label{Name: appc.Identifier(name), Value: value})
	}
	return labels, true
}

func scanRemote(row []any) (r remoteRow, err error) {
	if err := checkRow(row, 8); err != nil {
		return r, err
	}
	var key string
	ok := set(&r.URL, row[0]) && set(&r.SigURL, row[1]) && set(&r.ETag, row[2]) && set(&key, row[3]) &&
		set(&r.MaxAge, row[4]) && set(&r.Downloaded, row[5]) && set(&r.ManifestDigest, row[6])
	if !ok || !isKey(key) {
		return r, fmt.Errorf("bad row %q", row)
	}
	r.key = appc.ImageID(key)
	return r, nil
}

// set stores v in dst if it has that type.
func set[T any](dst *T, v any) bool {
	x, ok := v.(T)
	if ok {
		*dst = x
	}
	return ok
}

func (t *tx) setTreeSize(key appc.ImageID, size int64) error {
	row, ok, err := t.image(key)
	if err != nil || !ok || row.treeSize == size {
		return err
	}
	row.treeSize = size
	if err := t.run("DELETE FROM aciinfo WHERE blobkey == $1;", string(key)); err != nil {
		return err
	}
	return t.insertImage(&row)
}
