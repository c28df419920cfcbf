// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// TestContent: an OCI image comes out as it went in, or not at all.
func TestContent(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	img := storetest.OCI(t, "example.com/app", storetest.Tar(t, storetest.File{Name: "a", Content: "a"}))
	blob := img.Blobs[img.Layers[0].Digest]
	id, err := storetest.Import(t.Context(), s, img)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	layer := c.Record.Layers[0]
	in, err := c.Open(layer)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(in)
	if err != nil || !bytes.Equal(data, blob) || storetest.Digest(c.RawManifest) != c.Record.ManifestDigest || storetest.Digest(c.RawConfig) != c.Record.ConfigDigest {
		t.Errorf("%v", err)
	}
	// A blob that was changed.
	var path string
	err = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if strings.Contains(e.Name(), layer.Digest[len("sha256:"):]) && e.Type().IsRegular() {
			if st, serr := e.Info(); serr == nil && st.Size() == layer.Size {
				path = p
			}
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if in, err = c.Open(layer); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(in); err == nil {
		t.Error("a changed blob was read")
	}
	layer.Size++
	if _, err := c.Open(layer); err == nil {
		t.Error("a blob of another size was opened")
	}
	if err := errors.Join(in.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	aci, err := s.ImportACI(t.Context(), bytes.NewReader(storetest.ACI(t, storetest.Manifest("example.com/b"))), imagestore.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Content(t.Context(), aci); !errors.Is(err, imagestore.ErrNotOCI) {
		t.Errorf("%v", err)
	}
}

func TestSetVerified(t *testing.T) {
	s := openAt(t, t.TempDir())
	id, err := storetest.Import(t.Context(), s, storetest.OCI(t, "example.com/app", storetest.Tar(t)))
	if err != nil {
		t.Fatal(err)
	}
	v := imagestore.Verification{Method: "cosign", Fingerprint: "abc", Prefix: "docker://example.com"}
	for range 2 {
		if err := s.SetVerified(id, &v); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.Record(id); err != nil || r.Verified == nil || *r.Verified != v {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.SetVerified("sha512-00", &v); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
