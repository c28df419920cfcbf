// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// tree lists what is below a directory, with sizes and times.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil {
			all = append(all, path+" "+st.Mode().String()+" "+st.ModTime().String())
		}
		return err
	}))
	return all
}

// TestReaderTellsWhatListTells, and writes nothing.
func TestReaderTellsWhatListTells(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	want := fill(t, s)
	sizes := map[appc.ImageID]int64{want[0].ID: 12345}
	must(t, s.SetTreeSizes(t.Context(), sizes))
	want = list(t, s)
	before := tree(t, dir)
	r := imagestore.NewReader(dir, nil)
	keys, err := r.Keys()
	must(t, err)
	if len(keys) != len(want) {
		t.Fatalf("%d keys, want %d", len(keys), len(want))
	}
	for _, w := range want {
		key, err := r.Resolve(string(w.ID)[:20])
		must(t, err)
		got, manifest, err := r.Get(t.Context(), key)
		must(t, err)
		if got.ID != w.ID || got.Name != w.Name || got.Size != w.Size || got.Kind != w.Kind || !got.ImportTime.Equal(w.ImportTime) || len(manifest) == 0 {
			t.Errorf("%+v, List says %+v", got, w)
		}
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("the store was written to:\n%q\n%q", before, after)
	}
	sizes[want[0].ID] = 777 // the copy of the index is not kept for ever
	must(t, s.SetTreeSizes(t.Context(), sizes))
	got, _, err := r.Get(t.Context(), want[0].ID.Key())
	must(t, err)
	if i := slices.IndexFunc(list(t, s), func(i imagestore.Info) bool { return i.ID == want[0].ID }); got.Size != list(t, s)[i].Size {
		t.Errorf("size %d, List says %d", got.Size, list(t, s)[i].Size)
	}
	must(t, os.WriteFile(filepath.Join(dir, "db", "ql.db"), []byte("nonsense"), 0o600))
	if got, _, err := r.Get(t.Context(), want[1].ID.Key()); err != nil || got.Name != want[1].Name {
		t.Errorf("with a damaged index: %+v, %v", got, err)
	}
}

func TestReaderOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	r := imagestore.NewReader(dir, nil)
	if keys, err := r.Keys(); err != nil || len(keys) != 0 {
		t.Errorf("%q, %v", keys, err)
	}
	for id, want := range map[string]error{
		"sha512-ab": imagestore.ErrNoMatch, "sha512-a": imagestore.ErrIDTooShort, "sha256-ab": imagestore.ErrKeyPrefix,
		"sha512-../../../etc": imagestore.ErrNoMatch, "": imagestore.ErrKeyPrefix,
	} {
		if _, err := r.Resolve(id); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the store was made")
	}
}
