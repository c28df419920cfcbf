// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// ProblemKind classifies what Fsck finds.
type ProblemKind string

// The kinds of problems.
const (
	BadRecord   ProblemKind = "bad-record"   // record unreadable
	MissingFile ProblemKind = "missing-file" // an image lacks a file
	BadDigest   ProblemKind = "bad-digest"   // a file's content is wrong
	BadManifest ProblemKind = "bad-manifest" // manifest unparsable
	NoRow       ProblemKind = "no-row"       // image not in the index
	NoImage     ProblemKind = "no-image"     // index row without image
	WrongRow    ProblemKind = "wrong-row"    // index row disagrees with the record
	BadTree     ProblemKind = "bad-tree"     // tree is not what its layer says
)

// Problem is one thing that is not as it should be.
type Problem struct {
	Kind     ProblemKind `json:"kind"`
	Subject  string      `json:"subject"` // image key, tree ID or path
	Detail   string      `json:"detail"`
	Repaired bool        `json:"repaired"`
	Repair   string      `json:"repair,omitempty"` // what was done, or what the user can do
}

// Garbage is a leftover without meaning: it is no fault, and goes at the next
// garbage collection.
type Garbage struct {
	Path    string `json:"path"`
	Removed bool   `json:"removed"`
}

// Report is the result of Fsck.
type Report struct {
	Images   int       `json:"images"`
	Blobs    int       `json:"blobs"` // files whose content was verified
	Trees    int       `json:"trees"`
	Problems []Problem `json:"problems"`
	Garbage  []Garbage `json:"garbage"`
}

// Clean tells whether nothing is wrong any more.
func (r *Report) Clean() bool {
	return !slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Repaired })
}

// Fsck compares records, files and index and verifies the digests of all
// blobs. With repair, what can be derived is made anew, damaged blobs are removed
// together with the images that need them (they can be fetched again), and garbage is
// removed. The tree store's Fsck calls this one and checks the trees.
func (s *Store) Fsck(ctx context.Context, repair bool) (*Report, error) {
	f := &fsck{s: s, repair: repair, report: &Report{Problems: []Problem{}, Garbage: []Garbage{}}, verified: map[string]error{}}
	if err := f.records(ctx); err != nil {
		return f.report, err
	}
	if err := f.rows(ctx); err != nil {
		return f.report, err
	}
	return f.report, f.garbage(ctx)
}

type fsck struct {
	s        *Store
	repair   bool
	report   *Report
	verified map[string]error // blobs by digest, each read once
}

func (f *fsck) add(kind ProblemKind, subject, detail, repair string, fix func() error) {
	p := Problem{Kind: kind, Subject: subject, Detail: detail, Repair: repair}
	if f.repair && fix != nil {
		err := fix()
		p.Repaired = err == nil
		if err != nil {
			p.Repair += ": " + err.Error()
		}
	}
	f.report.Problems = append(f.report.Problems, p)
}

// records verifies every image.
func (f *fsck) records(ctx context.Context) error {
	var keys []appc.ImageID
	err := f.s.eachKey(func(key appc.ImageID, _ string) error {
		keys = append(keys, key)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(keys)
	for _, key := range keys {
		rec, err := f.s.readRecord(key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil && isMachineError(err):
			return err
		case err != nil:
			f.badRecord(ctx, key, err)
			continue
		}
		f.report.Images++
		if err := f.image(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// badRecord makes the record of an ACI anew from its archive. Nothing says
// which layers an OCI image had: it goes.
func (f *fsck) badRecord(ctx context.Context, key appc.ImageID, cause error) {
	if _, err := os.Lstat(f.s.aciPath(key)); err == nil {
		f.add(BadRecord, string(key), cause.Error(), "made it anew from the archive", func() error { return f.restore(ctx, key) })
		return
	}
	f.add(BadRecord, string(key), cause.Error(), "removed the image; fetch it again", func() error { return f.dropRecord(ctx, key) })
}

// restore writes the record of a stored archive.
func (f *fsck) restore(ctx context.Context, key appc.ImageID) error {
	l, err := f.s.keyLock(ctx, string(key), lock.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	im, st, err := f.rereadACI(ctx, key)
	if err != nil {
		return err
	}
	if im.id.Key() != key {
		return &IDError{Got: im.id, Want: key}
	}
	if err := f.s.writeManifest(key, im.data); err != nil {
		return err
	}
	return f.s.writeRecord(&Record{
		Version: recordVersion, ID: im.id, Kind: ACI, Name: im.manifest.Name, Labels: im.manifest.Labels,
		Size: im.size, Imported: st.ModTime().UTC(),
	})
}

// rereadACI takes manifest and ID from a stored archive.
func (f *fsck) rereadACI(ctx context.Context, key appc.ImageID) (*aciImport, fs.FileInfo, error) {
	file, err := os.Open(f.s.aciPath(key))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	st, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	im := &aciImport{s: f.s}
	h := sha512.New()
	out := &meter{h: h, max: streamCap(f.s.limits), what: "bytes in its stream"}
	if _, err := decompressed(ctx, file, out, im.validate, func() {}); err != nil {
		return nil, nil, err
	}
	im.id, im.size = appc.ImageIDFromSum(h.Sum(nil)), out.n
	im.data, err = im.manifest.Marshal()
	return im, st, err
}

func (f *fsck) dropRecord(ctx context.Context, key appc.ImageID) error {
	l, err := f.s.keyLock(ctx, string(key), lock.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if err := unlink(f.s.recordPath(key)); err != nil {
		return err
	}
	return f.s.index.update(ctx, func(t *tx) error { return t.deleteImage(key) })
}

// image verifies manifest and blobs of one image.
func (f *fsck) image(ctx context.Context, rec *Record) error {
	key := rec.ID.Key()
	if _, err := f.s.readManifest(key); err != nil && f.s.hasRecord(key) {
		if isMachineError(err) {
			return err
		}
		f.manifest(ctx, rec, err)
	}
	if rec.Kind == ACI {
		return f.aci(ctx, rec)
	}
	for _, b := range rec.blobs() {
		err := f.blob(ctx, b)
		if err == nil || !f.s.hasRecord(key) {
			continue
		}
		if isMachineError(err) {
			return err
		}
		f.lost(ctx, rec, b, err)
	}
	return nil
}

// manifest deals with a manifest that is missing or wrong: an ACI has a copy of it.
func (f *fsck) manifest(ctx context.Context, rec *Record, cause error) {
	kind := BadManifest
	if errors.Is(cause, fs.ErrNotExist) {
		kind = MissingFile
	}
	key := rec.ID.Key()
	if rec.Kind != ACI {
		f.add(kind, string(key), cause.Error(), "removed the image; fetch it again", func() error { return f.s.Remove(ctx, key) })
		return
	}
	f.add(kind, string(key), cause.Error(), "took the manifest from the archive", func() error {
		im, _, err := f.rereadACI(ctx, key)
		if err != nil {
			return err
		}
		return f.s.writeManifest(key, im.data)
	})
}

// aci verifies all 512 bits of an archive, and notes them for an image of rkt 1.
func (f *fsck) aci(ctx context.Context, rec *Record) error {
	key := rec.ID.Key()
	h := sha512.New()
	var n countWriter
	err := f.s.copyACI(ctx, key, io.MultiWriter(h, &n))
	if err == nil {
		f.report.Blobs++
		got := appc.ImageIDFromSum(h.Sum(nil))
		if !hasID(got, rec.ID) {
			err = &IDError{Got: got, Want: rec.ID}
		} else if f.repair && (!rec.ID.IsFull() || rec.Size != n.n) {
			rec.ID, rec.Size = got, n.n
			return f.s.rewriteRecord(rec)
		}
	}
	if err == nil || !f.s.hasRecord(key) {
		return nil
	}
	if isMachineError(err) {
		return err
	}
	f.lost(ctx, rec, string(key), err)
	return nil
}

// lost reports a blob that is missing or damaged.
func (f *fsck) lost(ctx context.Context, rec *Record, blob string, cause error) {
	kind := BadDigest
	if errors.Is(cause, fs.ErrNotExist) {
		kind = MissingFile
	}
	f.add(kind, string(rec.ID.Key()), fmt.Sprintf("%s: %v", blob, cause), "removed the image; fetch it again", func() error {
		if err := f.dropBlob(blob); err != nil {
			return err
		}
		err := f.s.Remove(ctx, rec.ID)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
}

// dropBlob removes a damaged blob: other imports must not take it for a good one.
func (f *fsck) dropBlob(blob string) error {
	d, err := parseDigest(blob)
	if err != nil {
		return nil //nolint:nilerr // an archive, which goes with its image
	}
	l, err := f.s.tryKeyLock(d.lockKey())
	if err != nil {
		return err
	}
	return errors.Join(unlink(f.s.blobPath(d)), l.Close())
}

// blob verifies a blob that one or more images share, once.
func (f *fsck) blob(ctx context.Context, name string) error {
	if err, done := f.verified[name]; done {
		return err
	}
	d, err := parseDigest(name)
	if err != nil {
		return err
	}
	err = f.digest(ctx, d)
	f.verified[name] = err
	if err == nil {
		f.report.Blobs++
	}
	return err
}

func (f *fsck) digest(ctx context.Context, d digest) error {
	file, err := os.Open(f.s.blobPath(d))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	m := &meter{r: &ctxReader{ctx, file}, h: d.newHash()}
	if _, err := discard(ctx, m); err != nil {
		return err
	}
	return d.check("blob", m.h)
}

// missingRows adds what an import that was killed did not come to, even
// without repair: the record is the truth, and the row adds nothing to it.
func (f *fsck) missingRows(ctx context.Context, missing []appc.ImageID) error {
	if err := f.s.addRows(ctx, missing); err != nil {
		return err
	}
	for _, key := range missing {
		f.report.Problems = append(f.report.Problems, Problem{
			Kind: NoRow, Subject: string(key), Detail: "image is not in the index", Repair: "added it", Repaired: true,
		})
	}
	return nil
}

// rows compares the index with the records.
func (f *fsck) rows(ctx context.Context) error {
	rows := map[appc.ImageID]imageRow{}
	err := f.s.index.view(ctx, func(t *tx) error {
		list, err := t.allImages()
		for _, r := range list {
			rows[r.key] = r
		}
		return err
	})
	if err != nil {
		return err
	}
	wrong := len(f.report.Problems)
	var missing []appc.ImageID
	err = f.s.eachRecord(func(rec *Record) error {
		row, ok := rows[rec.ID.Key()]
		delete(rows, rec.ID.Key())
		want := rowOf(rec, row.treeSize)
		switch {
		case !ok:
			missing = append(missing, rec.ID.Key())
		case !sameRow(row, want):
			f.add(WrongRow, string(rec.ID.Key()), "index disagrees with the image record", "corrected the index", nil)
		}
		return nil
	}, func(appc.ImageID, error) {})
	if err != nil {
		return err
	}
	if err := f.missingRows(ctx, missing); err != nil {
		return err
	}
	wrong += len(missing)
	for key := range rows {
		if !f.s.hasRecord(key) {
			f.add(NoImage, string(key), "index knows an image that is gone", "removed it from the index", nil)
		}
	}
	return f.rebuild(ctx, wrong)
}

func sameRow(a, b imageRow) bool {
	return a.name == b.name && a.imported.Equal(b.imported) && a.latest == b.latest && a.size == b.size &&
		a.kind == b.kind && slices.Equal(a.labels, b.labels)
}

// rebuild makes the index anew if any problem since number from concerns it.
func (f *fsck) rebuild(ctx context.Context, from int) error {
	if !f.repair || len(f.report.Problems) == from {
		return nil
	}
	if err := f.s.index.replace(ctx); err != nil {
		return err
	}
	for i := range f.report.Problems[from:] {
		f.report.Problems[from+i].Repaired = true
	}
	return nil
}

// garbage reports, and with repair removes, what no image needs.
func (f *fsck) garbage(ctx context.Context) error {
	if f.repair {
		g, err := f.s.GC(ctx, GCOptions{})
		for _, path := range slices.Concat(g.Temporary, g.Blobs, g.Manifests) {
			f.report.Garbage = append(f.report.Garbage, Garbage{Path: path, Removed: true})
		}
		return err
	}
	used, err := f.s.usedBlobs(ctx)
	if err != nil && isMachineError(err) {
		return err
	}
	for _, kind := range []string{blobDir, manifestDir} {
		for _, algorithm := range []string{"sha256", keyAlgorithm} {
			err := f.s.shardFiles(kind, algorithm, func(path, name string) error {
				if key, temp := keyOf(name); key != "" && !temp && f.s.hasRecord(key) || used[algorithm+":"+name] {
					return nil
				}
				f.report.Garbage = append(f.report.Garbage, Garbage{Path: path})
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
