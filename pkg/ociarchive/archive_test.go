// SPDX-License-Identifier: Apache-2.0

package ociarchive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

func makeTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		data := []byte(nil)
		if h.Typeflag == tar.TypeReg {
			data = []byte(h.Name)
			h.Size = int64(len(data))
		}
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func testManifest() *appc.ImageManifest {
	return &appc.ImageManifest{
		ACKind: appc.ImageManifestKind, ACVersion: appc.ACVersion, Name: "example.com/a",
		Labels: appc.Labels{{Name: "arch", Value: "aarch64"}, {Name: "os", Value: "linux"}, {Name: "version", Value: "1"}},
		App: &appc.App{
			Exec: []string{"/a", "b c"}, User: "1", Group: "2", WorkingDirectory: "/w", Environment: appc.Environment{{Name: "A", Value: "b=c"}},
			MountPoints: []appc.MountPoint{{Name: "data", Path: "/data"}}, Ports: []appc.Port{{Name: "p", Protocol: "tcp", Port: 80, Count: 2}},
		},
	}
}

func layerFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "layer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFromACI(t *testing.T) {
	when := time.Unix(5, 500)
	aci := makeTar(t,
		tar.Header{Name: "manifest", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "rootfs/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "rootfs/d", Typeflag: tar.TypeDir, Mode: 0o750},
		tar.Header{Name: "rootfs/d/f", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, ModTime: when, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}},
		tar.Header{Name: "rootfs/l", Typeflag: tar.TypeLink, Linkname: "rootfs/d/f"},
		tar.Header{Name: "rootfs/s", Typeflag: tar.TypeSymlink, Linkname: "/rootfs/d"},
	)
	i, err := FromACI(testManifest(), bytes.NewReader(aci), layerFile(t))
	if err != nil {
		t.Fatal(err)
	}
	in, err := i.Layers[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name+">"+h.Linkname)
		if h.Name == "d/f" && (h.Mode != 0o4755 || h.Uid != 7 || h.Gid != 8 || !h.ModTime.Equal(when) || h.PAXRecords["SCHILY.xattr.user.x"] != "y") {
			t.Errorf("%+v", h)
		}
	}
	if s := strings.Join(got, " "); s != "d/> d/f> l>d/f s>/rootfs/d" {
		t.Error(s)
	}
	// What comes out is what an image of a registry looks like.
	data := read(t, i.Manifest)
	m, err := ociconv.ParseManifest(data, ociconv.OCIManifest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ociconv.ParseConfig(read(t, i.Config))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Layers(c); err != nil || c.Architecture != "arm64" || c.App.User != "1:2" || len(c.App.ExposedPorts) != 2 || c.App.Env[0] != "A=b=c" {
		t.Errorf("%+v, %v", c, err)
	}
}

func read(t testing.TB, b Blob) []byte {
	t.Helper()
	in, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFromACIRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*appc.ImageManifest)
		headers []tar.Header
	}{
		"whiteout":     {nil, []tar.Header{{Name: "rootfs/.wh.x", Typeflag: tar.TypeReg}}},
		"in whiteout":  {nil, []tar.Header{{Name: "rootfs/.wh.x/y", Typeflag: tar.TypeReg}}},
		"link outside": {nil, []tar.Header{{Name: "rootfs/x", Typeflag: tar.TypeLink, Linkname: "manifest"}}},
		"dependencies": {func(m *appc.ImageManifest) { m.Dependencies = []appc.Dependency{{ImageName: "a"}} }, nil},
		"whitelist":    {func(m *appc.ImageManifest) { m.PathWhitelist = []string{"/a"} }, nil},
		"platform":     {func(m *appc.ImageManifest) { m.Labels[0].Value = "arm64" }, nil},
	} {
		m := testManifest()
		if tt.change != nil {
			tt.change(m)
		}
		if _, err := FromACI(m, bytes.NewReader(makeTar(t, tt.headers...)), layerFile(t)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWrite(t *testing.T) {
	layer := Bytes(ociconv.OCILayerGzip, []byte("layer"))
	i := &Image{Manifest: Bytes(ociconv.OCIManifest, []byte("m")), Config: Bytes(ociconv.OCIConfig, []byte("c")), Layers: []Blob{layer, layer}, Reference: "example.com/a:1"}
	var out bytes.Buffer
	if err := Write(&out, i, Docker); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	if len(names) != 8 || names[2] != "manifest.json" {
		t.Errorf("%v", names)
	}
	layer.Size++
	i.Layers = []Blob{layer}
	if err := Write(io.Discard, i, OCI); err == nil {
		t.Error("wrote a blob of another size")
	}
}
