// SPDX-License-Identifier: Apache-2.0

package ociconv_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func reference(t *testing.T, s string) distribution.Docker {
	t.Helper()
	d, err := distribution.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Each testdata/NAME.config.json becomes NAME.golden: the manifest, then the
// warnings.
func TestImageManifest(t *testing.T) {
	origins := map[string]ociconv.Origin{
		"full":    ociconv.FromReference(reference(t, "busybox:1.36")),
		"repair":  ociconv.FromReference(reference(t, "127.0.0.1:5000/my/app_x@"+digestB)),
		"minimal": ociconv.FromFile("/tmp/My Image.tar.gz", ""),
		"volumes": ociconv.FromFile("/tmp/x.tar", "example.com/team/app:2.0"),
	}
	files, err := filepath.Glob("testdata/*.config.json")
	if err != nil || len(files) != len(origins) {
		t.Fatalf("%d configs, %d origins, %v", len(files), len(origins), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".config.json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, err := ociconv.ParseConfig(data)
			if err != nil {
				t.Fatal(err)
			}
			origin := origins[name]
			origin.ManifestDigest = digestA
			m, warnings, err := ociconv.ImageManifest(config, origin, digestB)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+name+".golden", m, warnings)
		})
	}
}

func golden(t *testing.T, path string, m *appc.ImageManifest, warnings []string) {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "\t"); err != nil {
		t.Fatal(err)
	}
	out.WriteString("\n")
	for _, w := range warnings {
		out.WriteString("warning: " + w + "\n")
	}
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestLabels(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/386": "linux/i386", "linux/arm64": "linux/aarch64", "linux/arm64/v8": "linux/aarch64",
		"linux/arm": "linux/armv6l", "linux/arm/v6": "linux/armv6l", "linux/arm/v7": "linux/armv7l",
		"linux/ppc64": "linux/ppc64", "linux/ppc64le": "linux/ppc64le", "linux/s390x": "linux/s390x",
		"freebsd/amd64": "freebsd/amd64", "freebsd/386": "freebsd/i386", "freebsd/arm": "freebsd/arm",
		"darwin/amd64": "darwin/x86_64", "darwin/386": "darwin/i386",
		"linux/riscv64": "", "windows/amd64": "", "linux/arm/v5": "",
	} {
		p, err := ociconv.ParsePlatform(in)
		if err != nil {
			t.Fatal(err)
		}
		os, arch, ok := ociconv.Labels(p)
		if got := os + "/" + arch; ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %s, %v; want %s", in, got, ok, want)
		}
		if ok {
			if err := appc.IsValidOSArch(os, arch); err != nil {
				t.Error(err)
			}
		}
	}
	for _, bad := range []string{"", "linux", "linux/", "a/b/c/d"} {
		if _, err := ociconv.ParsePlatform(bad); err == nil {
			t.Errorf("platform %q was accepted", bad)
		}
	}
}

func TestFromFile(t *testing.T) {
	for _, tc := range []struct{ path, ref, name, version string }{
		{"/x/debian.tar", "", "debian", ""},
		{"/x/debian.tar.gz", "12", "debian", "12"},
		{"/x/dir", "latest", "dir", "latest"},
		{"/x/dir", "debian:12", "debian", "12"},
		{"/x/dir", "docker.io/library/debian:12", "docker.io/library/debian", "12"},
		{"/x/dir", "h:5000/a", "h:5000/a", "latest"},
		{"/x/dir", "not a:reference/", "not a:reference/", ""},
	} {
		o := ociconv.FromFile(tc.path, tc.ref)
		if o.Name != tc.name || o.Version != tc.version || o.Repository == "" || o.Original == "" || o.Registry != "" {
			t.Errorf("%s %s: got %+v", tc.path, tc.ref, o)
		}
	}
}

func TestNoName(t *testing.T) {
	_, _, err := ociconv.ImageManifest(&ociconv.Config{}, ociconv.FromFile("/x/___.tar", ""), digestA)
	if err == nil {
		t.Error("an image without a usable name was converted")
	}
}

func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/*.config.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	origin := ociconv.FromFile("/tmp/image.tar", "1")
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := ociconv.ParseConfig(data)
		if err != nil {
			return
		}
		m, _, err := ociconv.ImageManifest(config, origin, digestA)
		if err != nil {
			if !strings.Contains(err.Error(), "NUL") {
				t.Fatalf("conversion fails: %v", err)
			}
			return
		}
		out, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := appc.ParseImageManifest(out)
		if err != nil {
			t.Fatalf("converted manifest does not parse: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		`["a","b c"]`: {"a", "b c"},
		`"/bin/a b"`:  {"/bin/a b"},
		`""`:          nil,
		`[]`:          {},
		`null`:        nil,
	} {
		config, err := ociconv.ParseConfig([]byte(`{"config":{"Entrypoint":` + in + `}}`))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, []string(config.App.Entrypoint)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for _, in := range []string{`1`, `{}`, `[1]`, `"a`} {
		if _, err := ociconv.ParseConfig([]byte(`{"config":{"Cmd":` + in + `}}`)); err == nil {
			t.Errorf("%s: no error", in)
		}
	}
}
