// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// TestAccept: what is refused leaves nothing, what is accepted is recorded.
func TestAccept(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	aci := storetest.ACI(t, storetest.Manifest("example.com/app"))
	before := filesIn(t, dir)
	refused := errors.New("refused")
	_, err := s.ImportACI(t.Context(), bytes.NewReader(aci), imagestore.ImportOptions{
		Accept: func(m *appc.ImageManifest) (*imagestore.Verification, error) {
			if m.Name != "example.com/app" {
				t.Errorf("asked about %q", m.Name)
			}
			return nil, refused
		},
	})
	if !errors.Is(err, refused) {
		t.Fatalf("error %v", err)
	}
	if after := filesIn(t, dir); after != before {
		t.Errorf("%d files, %d before", after, before)
	}
	want := imagestore.Verification{Fingerprint: "abc", Prefix: "example.com", Signed: time.Unix(1, 0).UTC()}
	for _, accept := range []func(*appc.ImageManifest) (*imagestore.Verification, error){
		func(*appc.ImageManifest) (*imagestore.Verification, error) { return &want, nil },
		nil, // keeps it
	} {
		id, err := s.ImportACI(t.Context(), bytes.NewReader(aci), imagestore.ImportOptions{Accept: accept})
		if err != nil {
			t.Fatal(err)
		}
		rec, err := s.Record(id)
		if err != nil || rec.Verified == nil || *rec.Verified != want {
			t.Errorf("%+v, %v", rec.Verified, err)
		}
	}
}

// filesIn counts files but those of the index and locks.
func filesIn(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == "db" || e.Name() == "imagelocks") {
			return fs.SkipDir
		}
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
