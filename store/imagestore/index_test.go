// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/ql"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// fill puts some images into a store and returns what List says of them.
func fill(t *testing.T, s *imagestore.Store) []imagestore.Info {
	t.Helper()
	for i := range 5 {
		data := storetest.ACI(t, storetest.Manifest(fmt.Sprintf("example.com/app%d", i), "version", "1"))
		_, err := s.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{
			Latest: i%2 == 0, Remote: &imagestore.Remote{URL: fmt.Sprintf("https://example.com/%d", i), ETag: "e", MaxAge: time.Hour},
		})
		must(t, err)
	}
	img := storetest.OCI(t, "example.com/oci", storetest.Tar(t, storetest.File{Name: "f", Content: "f"}))
	img.Remote = &imagestore.Remote{URL: "docker://example.com/oci"}
	_, err := storetest.Import(t.Context(), s, img)
	must(t, err)
	return list(t, s)
}

func list(t *testing.T, s *imagestore.Store) []imagestore.Info {
	t.Helper()
	l, err := s.List(t.Context())
	must(t, err)
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sameImages fails unless the store has the images, by every way to find them.
func sameImages(t *testing.T, s *imagestore.Store, want []imagestore.Info) {
	t.Helper()
	got := list(t, s)
	if len(got) != len(want) {
		t.Fatalf("%d images, want %d", len(got), len(want))
	}
	byID := map[appc.ImageID]imagestore.Info{}
	for _, i := range got {
		byID[i.ID] = i
	}
	for _, w := range want {
		g := byID[w.ID]
		if g.Name != w.Name || g.Size != w.Size || g.Latest != w.Latest || g.Kind != w.Kind ||
			!g.ImportTime.Equal(w.ImportTime) || !g.LastUsed.Equal(w.LastUsed) {
			t.Errorf("image %s: %+v, want %+v", w.ID, g, w)
		}
		if id, err := s.Find(w.Name, nil); err != nil || id != w.ID {
			t.Errorf("Find(%s) = %s, %v", w.Name, id, err)
		}
		rec, err := s.Record(w.ID)
		must(t, err)
		for _, rr := range rec.Remotes {
			if r, ok, err := s.Remote(rr.URL); err != nil || !ok || r.Key != w.ID || r.ETag != rr.ETag {
				t.Errorf("Remote(%s) = %+v, %t, %v", rr.URL, r, ok, err)
			}
		}
	}
	report, err := s.Fsck(t.Context(), false)
	must(t, err)
	if len(report.Problems) != 0 {
		t.Errorf("fsck: %+v", report.Problems)
	}
}

// warnings opens a store whose warnings can be read.
func warnings(t *testing.T, dir string) (*imagestore.Store, *bytes.Buffer) {
	t.Helper()
	var buf bytes.Buffer
	s, err := imagestore.Open(t.Context(), dir, imagestore.Options{
		Logger: slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, &buf
}

// TestIndexDamage breaks the index in every way a crash or a person can; the
// next command must find all images.
func TestIndexDamage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	overwrite := func(data []byte, at int64) func(t *testing.T, db string) {
		return func(t *testing.T, db string) {
			f, err := os.OpenFile(db, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt(data, at)
			must(t, errors.Join(err, f.Close()))
		}
	}
	truncate := func(part float64) func(t *testing.T, db string) {
		return func(t *testing.T, db string) {
			st, err := os.Stat(db)
			must(t, err)
			must(t, os.Truncate(db, int64(part*float64(st.Size()))))
		}
	}
	tests := []struct {
		name  string
		quiet bool // no warning: nothing is wrong with an index that is not there
		harm  func(t *testing.T, db string)
	}{
		{"deleted", true, func(t *testing.T, db string) { must(t, os.Remove(db)) }},
		{"directory deleted", true, func(t *testing.T, db string) { must(t, os.RemoveAll(filepath.Dir(db))) }},
		{"empty", true, truncate(0)},
		{"truncated to a byte", false, func(t *testing.T, db string) { must(t, os.Truncate(db, 1)) }},
		{"truncated to a third", false, truncate(0.33)},
		{"truncated to nine tenths", false, truncate(0.9)},
		{"random bytes all over", false, func(t *testing.T, db string) { must(t, os.WriteFile(db, random(20000), 0o660)) }},
		{"random bytes at the start", false, overwrite(random(300), 0)},
		{"random bytes after the magic", false, overwrite(random(2000), 16)},
		{"zeros in the middle", false, overwrite(make([]byte, 3000), 1000)},
		{"text", false, func(t *testing.T, db string) { must(t, os.WriteFile(db, []byte("not a database"), 0o660)) }},
		{"file format 2", false, func(t *testing.T, db string) {
			must(t, os.Remove(db))
			d, err := ql.OpenFile(db, &ql.Options{CanCreate: true, FileFormat: 2})
			must(t, err)
			must(t, d.Close())
		}},
		{"no tables", false, func(t *testing.T, db string) {
			must(t, os.Remove(db))
			d, err := ql.OpenFile(db, &ql.Options{CanCreate: true})
			must(t, err)
			must(t, d.Close())
		}},
		{"table missing", false, execute("DROP TABLE aciinfo;")},
		{"column missing", false, execute("ALTER TABLE aciinfo DROP COLUMN labels;")},
		{"two versions", false, execute("INSERT INTO version VALUES (8);")},
		{"value changed", false, execute(`UPDATE aciinfo SET name = "evil" WHERE name == "example.com/app1";`)},
		{"remote changed", false, execute(`UPDATE remote SET etag = "evil";`)},
		{"torn journal", false, func(t *testing.T, db string) { must(t, os.WriteFile(ql.WalName(db), random(100), 0o660)) }},
		{"journal of zeros", false, func(t *testing.T, db string) { must(t, os.WriteFile(ql.WalName(db), make([]byte, 4096), 0o660)) }},
		{"lock file of ql left", true, func(t *testing.T, db string) {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(db), "."+strings.Repeat("a1", 20)), nil, 0o600))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			want := fill(t, openAt(t, dir))
			tt.harm(t, filepath.Join(dir, "db", "ql.db"))
			s, warned := warnings(t, dir)
			sameImages(t, s, want)
			if n := strings.Count(warned.String(), "level=WARN"); tt.quiet && n > 0 || !tt.quiet && n == 0 {
				t.Errorf("%d warnings: %s", n, warned)
			}
			warned.Reset()
			// The same store goes on working, and so does the next.
			_, err := s.ImportACI(t.Context(), bytes.NewReader(storetest.ACI(t, storetest.Manifest("example.com/new"))), imagestore.ImportOptions{})
			must(t, err)
			if got := len(list(t, openAt(t, dir))); got != len(want)+1 || warned.Len() > 0 {
				t.Errorf("%d images after one more import, want %d; warnings: %s", got, len(want)+1, warned)
			}
		})
	}
}

func execute(stmt string) func(t *testing.T, db string) {
	return func(t *testing.T, db string) {
		d, err := ql.OpenFile(db, &ql.Options{})
		must(t, err)
		_, _, err = d.Run(ql.NewRWCtx(), "BEGIN TRANSACTION; "+stmt+" COMMIT;")
		must(t, err)
		must(t, d.Close())
	}
}

// TestIndexNewer leaves a database of a later release alone.
func TestIndexNewer(t *testing.T) {
	dir := t.TempDir()
	fill(t, openAt(t, dir))
	db := filepath.Join(dir, "db", "ql.db")
	execute("UPDATE version SET version = 9;")(t, db)
	before, err := os.ReadFile(db)
	must(t, err)
	s := openAt(t, dir)
	_, err = s.List(t.Context())
	want := "current store db version: 9 (greater than the current rkt expected version: 8)"
	if err == nil || err.Error() != want {
		t.Errorf("List: %v, want %q", err, want)
	}
	after, err := os.ReadFile(db)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the database was changed")
	}
}

// TestIndexBrokenKept keeps a few unusable databases, not all.
func TestIndexBrokenKept(t *testing.T) {
	dir := t.TempDir()
	want := fill(t, openAt(t, dir))
	for range 6 {
		must(t, os.WriteFile(filepath.Join(dir, "db", "ql.db"), []byte("garbage"), 0o660))
		sameImages(t, openAt(t, dir), want)
	}
	broken, err := filepath.Glob(filepath.Join(dir, "db", "broken-*"))
	must(t, err)
	if len(broken) != 3 {
		t.Errorf("%d databases were kept: %v", len(broken), broken)
	}
}

// TestIndexUnreadable must not take a missing permission for a broken database.
func TestIndexUnreadable(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	want := fill(t, s)
	db := filepath.Join(dir, "db", "ql.db")
	must(t, os.Chmod(db, 0))
	asNobody(t, dir, func() {
		if _, err := s.List(t.Context()); !errors.Is(err, os.ErrPermission) {
			t.Errorf("List: %v", err)
		}
	})
	must(t, os.Chmod(db, 0o660))
	sameImages(t, s, want)
}

// asNobody runs fn without root's right to read everything: on a thread whose
// file system id is another one (setfsuid(2)), which owns dir.
func asNobody(t *testing.T, dir string, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	const nobody = 65534
	chown := func(uid int) {
		must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, uid, -1))
		}))
	}
	chown(nobody)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(nobody))
	fn()
	must(t, unix.Setfsuid(0))
	chown(0)
}

// TestRowsWithoutRecord is the state after a killed removal.
func TestRowsWithoutRecord(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	all := fill(t, s)
	gone := all[0]
	must(t, os.Remove(recordFile(dir, gone.ID)))
	if got := len(list(t, s)); got != len(all)-1 {
		t.Errorf("List has %d images, want %d", got, len(all)-1)
	}
	if _, err := s.Find(gone.Name, nil); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
	if id, err := s.FindRemovable(gone.Name, nil); err != nil || id != gone.ID {
		t.Errorf("FindRemovable = %s, %v", id, err)
	}
	if id, err := s.Resolve(string(gone.ID[:20])); err != nil || id != gone.ID {
		t.Errorf("Resolve = %s, %v", id, err)
	}
	if _, err := s.Manifest(gone.ID); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Manifest: %v", err)
	}
	report, err := s.Fsck(t.Context(), false)
	must(t, err)
	if len(report.Problems) != 1 || report.Problems[0].Kind != imagestore.NoImage {
		t.Errorf("fsck: %+v", report.Problems)
	}
	must(t, s.Remove(t.Context(), gone.ID))
	if _, err := s.FindRemovable(gone.Name, nil); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("FindRemovable after removal: %v", err)
	}

	// The other way: garbage collection drops such rows.
	gone = all[1]
	must(t, os.Remove(recordFile(dir, gone.ID)))
	g, err := s.GC(t.Context(), imagestore.GCOptions{})
	must(t, err)
	if len(g.Rows) != 1 || g.Rows[0] != gone.ID {
		t.Errorf("GC: %+v", g)
	}
	sameImages(t, s, list(t, s))
}

func recordFile(dir string, id appc.ImageID) string {
	return filepath.Join(dir, "image", "sha512", string(id[7:9]), string(id.Key()))
}

// BenchmarkList has a budget of 40 ms for 1,000 images (issue: rkt image list ≤ 100 ms).
func BenchmarkList(b *testing.B) {
	dir := b.TempDir()
	s := openAt(b, dir)
	for i := range 1000 {
		writeRecord(b, dir, i)
	}
	if _, err := s.List(b.Context()); err != nil { // builds the index
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := s.List(b.Context())
		if err != nil || len(l) != 1000 {
			b.Fatal(len(l), err)
		}
	}
}

// writeRecord makes an image out of nothing but its record and a manifest that
// is older, so that nobody reads it.
func writeRecord(b *testing.B, dir string, i int) {
	id := storetest.ID(fmt.Appendf(nil, "image %d", i))
	path := recordFile(dir, id)
	manifest := filepath.Join(dir, "imageManifest", "sha512", string(id[7:9]), string(id.Key()))
	must(b, os.MkdirAll(filepath.Dir(path), 0o770))
	must(b, os.MkdirAll(filepath.Dir(manifest), 0o770))
	must(b, os.WriteFile(manifest, []byte("{}"), 0o660))
	must(b, os.WriteFile(path, fmt.Appendf(nil, `{"version":1,"id":%q,"kind":"aci","name":"example.com/some/app%d",`+
		`"labels":[{"name":"arch","value":"amd64"},{"name":"os","value":"linux"},{"name":"version","value":"1.%d"}],`+
		`"size":123456,"imported":"2036-11-23T10:00:00.123456789Z","remotes":[{"url":"https://example.com/app%d.aci","etag":"x","downloaded":"2026-11-23T10:00:00Z"}]}`,
		id, i, i, i), 0o660))
}
