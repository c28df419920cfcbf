// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// TestFsck damages one thing at a time: it must be found, and with repair the
// store is whole again and has as many images as can be saved.
func TestFsck(t *testing.T) {
	data := storetest.ACI(t, storetest.Manifest("example.com/aci"), storetest.File{Name: "f", Content: "content"})
	img := storetest.OCI(t, "example.com/oci", storetest.Tar(t, storetest.File{Name: "f", Content: "f"}))
	other := storetest.OCI(t, "example.com/other", storetest.Tar(t, storetest.File{Name: "f", Content: "f"}), storetest.Tar(t))
	blob := func(digest string) string {
		hex := strings.TrimPrefix(digest, "sha256:")
		return filepath.Join("blob", "sha256", hex[:2], hex)
	}
	key := storetest.ID(data).Key()
	keyFile := func(kind string) string { return filepath.Join(kind, "sha512", string(key[7:9]), string(key)) }
	ociRecord := func(dir string, id appc.ImageID) string { return recordFile(dir, id) }
	remove := func(path string) func(*testing.T, string, appc.ImageID) {
		return func(t *testing.T, dir string, _ appc.ImageID) { must(t, os.Remove(filepath.Join(dir, path))) }
	}
	write := func(path, content string) func(*testing.T, string, appc.ImageID) {
		return func(t *testing.T, dir string, _ appc.ImageID) {
			must(t, os.WriteFile(filepath.Join(dir, path), []byte(content), 0o660))
		}
	}
	flip := func(path string) func(*testing.T, string, appc.ImageID) {
		return func(t *testing.T, dir string, _ appc.ImageID) {
			b, err := os.ReadFile(filepath.Join(dir, path))
			must(t, err)
			b[len(b)-600] ^= 1
			must(t, os.WriteFile(filepath.Join(dir, path), b, 0o660))
		}
	}
	tests := []struct {
		name  string
		harm  func(t *testing.T, dir string, oci appc.ImageID)
		kind  imagestore.ProblemKind
		count int
		saved int // of three images
	}{
		{"nothing", func(*testing.T, string, appc.ImageID) {}, "", 0, 3},
		{"archive gone", remove(keyFile("blob")), imagestore.MissingFile, 1, 2},
		{"archive changed", flip(keyFile("blob")), imagestore.BadDigest, 1, 2},
		{"manifest gone", remove(keyFile("imageManifest")), imagestore.MissingFile, 1, 3},
		{"manifest broken", write(keyFile("imageManifest"), "{"), imagestore.BadManifest, 1, 3},
		{"record broken", write(keyFile("image"), "{"), imagestore.BadRecord, 1, 3},
		{"record of another", write(keyFile("image"), `{"version":1,"id":"sha512-00","kind":"aci"}`), imagestore.BadRecord, 1, 3},
		{"layer gone", remove(blob(img.Layers[0].Digest)), imagestore.MissingFile, 2, 1},
		{"layer changed", write(blob(img.Layers[0].Digest), "x"), imagestore.BadDigest, 2, 1},
		{"config gone", remove(blob(storetest.Digest(img.RawConfig))), imagestore.MissingFile, 1, 2},
		{"OCI record broken", func(t *testing.T, dir string, oci appc.ImageID) {
			must(t, os.WriteFile(ociRecord(dir, oci), nil, 0o660))
		}, imagestore.BadRecord, 1, 2},
		{"row gone", func(t *testing.T, dir string, _ appc.ImageID) {
			execute(`DELETE FROM aciinfo WHERE name == "example.com/oci";`)(t, filepath.Join(dir, "db", "ql.db"))
		}, imagestore.NoRow, 1, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openAt(t, dir)
			_, err := s.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{})
			must(t, err)
			oci, err := storetest.Import(t.Context(), s, img)
			must(t, err)
			_, err = storetest.Import(t.Context(), s, other)
			must(t, err)
			tt.harm(t, dir, oci)
			report, err := s.Fsck(t.Context(), false)
			must(t, err)
			count := 0
			for _, p := range report.Problems {
				if p.Kind == tt.kind {
					count++
				}
			}
			// A missing row is added at once.
			if count != tt.count || report.Clean() != (tt.count == 0 || tt.kind == imagestore.NoRow) {
				t.Errorf("found %+v, want %d of kind %s", report.Problems, tt.count, tt.kind)
			}
			report, err = s.Fsck(t.Context(), true)
			must(t, err)
			if !report.Clean() {
				t.Errorf("not repaired: %+v", report.Problems)
			}
			report, err = s.Fsck(t.Context(), false)
			must(t, err)
			if len(report.Problems)+len(report.Garbage) > 0 || report.Images != tt.saved {
				t.Errorf("after repair: %+v, want %d images", report, tt.saved)
			}
			sameImages(t, s, list(t, s))
		})
	}
}

// TestModes: the group may use everything but what is root's, whatever the
// umask of whoever creates it (images.md 15).
func TestModes(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "cas")
	s := openAt(t, dir)
	fill(t, s)
	_, err := s.GC(t.Context(), imagestore.GCOptions{})
	must(t, err)
	fill(t, s)
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o660)
		if d.IsDir() {
			want = os.ModeDir | os.ModeSetgid | 0o770
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	must(t, err)
}

// TestUnreadableRecordKeepsBlobs: what an unreadable record needs is unknown,
// so nothing may be taken for unused.
func TestUnreadableRecordKeepsBlobs(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	base := storetest.Tar(t, storetest.File{Name: "f", Content: "f"})
	a, err := storetest.Import(t.Context(), s, storetest.OCI(t, "example.com/a", base))
	must(t, err)
	b, err := storetest.Import(t.Context(), s, storetest.OCI(t, "example.com/b", base, storetest.Tar(t)))
	must(t, err)
	record, err := os.ReadFile(recordFile(dir, b))
	must(t, err)
	must(t, os.WriteFile(recordFile(dir, b), []byte("torn"), 0o660))
	var stale *imagestore.StaleError
	if err := s.Remove(t.Context(), a); !errors.As(err, &stale) {
		t.Errorf("Remove: %v", err)
	}
	if _, err := s.GC(t.Context(), imagestore.GCOptions{}); err == nil {
		t.Error("GC was content")
	}
	must(t, os.WriteFile(recordFile(dir, b), record, 0o660))
	report, err := s.Fsck(t.Context(), false)
	must(t, err)
	if len(report.Problems) > 0 {
		t.Errorf("image was harmed: %+v", report.Problems)
	}
}
