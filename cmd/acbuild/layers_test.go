// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/compression"
)

type layoutLayer struct{ MediaType, Digest string }

// layout returns the layers and diff IDs of an OCI layout.
func (l *lab) layout(name string) (list []layoutLayer, diffIDs []string) {
	l.Helper()
	read := func(to any, elem ...string) {
		data, err := os.ReadFile(filepath.Join(append([]string{l.dir, name}, elem...)...))
		if err == nil {
			err = json.Unmarshal(data, to)
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	var index struct{ Manifests []layoutLayer }
	var manifest struct {
		Config layoutLayer
		Layers []layoutLayer
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	read(&index, "index.json")
	read(&manifest, "blobs", strings.Replace(index.Manifests[0].Digest, ":", "/", 1))
	read(&config, "blobs", strings.Replace(manifest.Config.Digest, ":", "/", 1))
	return manifest.Layers, config.RootFS.DiffIDs
}

// layerNames lists what is in each layer, base first.
func (l *lab) layerNames(name string) (all []string) {
	l.Helper()
	list, diffIDs := l.layout(name)
	if len(list) != len(diffIDs) {
		l.Errorf("%d layers and %d diff IDs", len(list), len(diffIDs))
	}
	for _, d := range list {
		f, err := os.Open(filepath.Join(l.dir, name, "blobs", strings.Replace(d.Digest, ":", "/", 1)))
		if err != nil {
			l.Fatal(err)
		}
		plain, kind, err := compression.NewReader(f)
		if err != nil {
			l.Fatal(err)
		}
		if want := "application/vnd.oci.image.layer.v1.tar+" + string(kind); kind != compression.None && d.MediaType != want {
			l.Errorf("%s is %s", d.MediaType, kind)
		}
		var names []string
		for r := tar.NewReader(plain); ; {
			hdr, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				l.Fatal(err)
			}
			names = append(names, hdr.Name)
		}
		all = append(all, strings.Join(names, " "))
		_ = f.Close()
	}
	return all
}

func (l *lab) file(name, content string) {
	l.Helper()
	path := filepath.Join(l.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		l.Fatal(err)
	}
}

// An OCI build has layers: each is what was changed since the one before.
func TestLayers(t *testing.T) {
	l := &lab{t, t.TempDir()}
	l.file("tree/etc/one", "1")
	l.file("two", "2")
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	l.must("begin", "--build-mode=oci", "./tree")
	l.must("layer")
	l.must("layer") // nothing has changed
	l.must("copy", "two", "/etc/two")
	l.must("layer")
	if err := os.Remove(l.rootfs("etc/one")); err != nil {
		t.Fatal(err)
	}
	l.must("copy", "two", "/three")
	l.must("set-exec", "/bin/app")
	l.must("set-tag", "v1")
	want := []string{"./ etc/ etc/one", "./ etc/ etc/two", "./ etc/ three etc/.wh.one"}
	id := l.must("write", "--format=oci-layout", "out")
	if got := l.layerNames("out"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	l.must("write", "--format=docker-archive", "docker.tar")
	if again := l.must("write", "--overwrite", "--format=oci-layout", "out"); again != id {
		t.Errorf("%s, then %s", id, again)
	}
	l.must("write", "--compression=zstd:3", "image.tar")
	l.must("end")

	// A build that begins with it keeps its layers, and adds one if there is something new.
	base, _ := l.layout("out")
	for name, start := range map[string]string{"layout": "oci:out:v1", "docker": "docker-archive:docker.tar"} {
		l.must("begin", "--build-mode=oci", start)
		if _, err := os.Stat(l.rootfs("etc/one")); err == nil {
			t.Error("what the top layer hides is there")
		}
		l.must("env", "add", "A", "b")
		l.must("write", "--format=oci-layout", "same-"+name)
		if got, _ := l.layout("same-" + name); !cmp.Equal(got, base) {
			t.Errorf("%s: %q, not %q", name, got, base)
		}
		l.must("copy", "two", "/four")
		l.must("write", "--format=oci-layout", "more-"+name)
		if got := l.layerNames("more-" + name); !slices.Equal(got, append(want[:3:3], "./ four")) {
			t.Errorf("%s: %q", name, got)
		}
		l.must("end")
	}
	l.must("--modify-oci=image.tar", "copy", "two", "/four")
	l.must("begin", "--build-mode=oci", "./image.tar")
	l.must("layer")
	l.must("write", "--format=oci-layout", "modified")
	if got := l.layerNames("modified"); !slices.Equal(got, append(want[:3:3], "./ four")) {
		t.Errorf("%q", got)
	}
	l.must("end")

	l.must("begin")
	if status, _, errs := l.run("layer"); status != 1 || errs != "layer: layer is only supported in OCI builds: an ACI has no layers\n" {
		t.Errorf("%d %s", status, errs)
	}
}

// What a killed layer left does not count and is removed.
func TestLayerInterrupted(t *testing.T) {
	l := &lab{t, t.TempDir()}
	l.file("one", "1")
	l.must("begin", "--build-mode=oci")
	l.must("copy", "one", "/one")
	l.must("layer")
	left := filepath.Join(l.dir, ".acbuild/ociblobs/layer-1.tar")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.must("copy", "one", "/two")
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
	l.must("write", "--format=oci-layout", "out")
	if got := l.layerNames("out"); !slices.Equal(got, []string{"./ one", "./ two"}) {
		t.Errorf("%q", got)
	}
	// A list that leads elsewhere is refused.
	list := filepath.Join(l.dir, ".acbuild/ociblobs/layers.json")
	if err := os.WriteFile(list, []byte(`{"layers":[{"file":"../../one"}],"snapshot":"snapshot-1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := l.run("write", "x.tar"); status != 1 || !strings.Contains(errs, `"../../one" is no name of a file`) {
		t.Errorf("%d %s", status, errs)
	}
	l.must("end")
}
