// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
)

// importACI puts an image into the store by way of a file.
func importACI(t *testing.T, f *Fetcher, manifest string) appc.ImageID {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.aci")
	if err := os.WriteFile(path, makeACI(t, manifest, 10, compression.Gzip), 0o644); err != nil {
		t.Fatal(err)
	}
	id, err := f.Fetch(t.Context(), path, ImageOptions{NoDeps: true})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// hostPlatformLabels are the labels of an image for this machine.
func hostPlatformLabels(version string) string {
	os, arch := appc.HostLabels()
	return fmt.Sprintf(`,"labels":[{"name":"version","value":%q},{"name":"os","value":%q},{"name":"arch","value":%q}]`, version, os, arch)
}

func TestFile(t *testing.T) {
	store := newFakeStore(t)
	f, out := fetcher(store)
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("a.aci", makeACI(t, imageManifest("example.com/a", ""), 10, compression.Gzip), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []Policy{New, Never, Update} {
		if _, err := f.Fetch(t.Context(), "./a.aci", ImageOptions{Policy: policy}); err != nil {
			t.Error(err)
		}
	}
	out.has(t, "image: using image from file "+dir+"/a.aci")
	if store.imports != 3 || len(store.remotes) != 0 {
		t.Errorf("%d imports, %d remotes", store.imports, len(store.remotes))
	}
	_, err := f.Fetch(t.Context(), "missing.aci", ImageOptions{})
	wantError(t, err, "error opening ACI file", "no such file")
	_, err = f.Fetch(t.Context(), dir+"/dir.tar", ImageOptions{})
	wantError(t, err, `invalid image string "file://`+dir+`/dir.tar"`)
	if err := os.Mkdir("dir.aci", 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = f.Fetch(t.Context(), "./dir.aci", ImageOptions{})
	wantError(t, err, "error opening ACI file", "not a regular file")
}

func TestHash(t *testing.T) {
	f, out := fetcher(newFakeStore(t))
	id := importACI(t, f, imageManifest("example.com/a", ""))
	f.Insecure.Image = false
	for _, policy := range []Policy{New, Never, Update} {
		got, err := f.Fetch(t.Context(), string(id[:20]), ImageOptions{Policy: policy})
		if err != nil || got != id {
			t.Errorf("got %s, %v", got, err)
		}
	}
	out.has(t, "image: using image from the store with hash "+string(id))
	_, err := f.Fetch(t.Context(), "sha512-0000", ImageOptions{})
	wantError(t, err, `could not resolve image "sha512-0000": no image IDs found`)
}

func TestName(t *testing.T) {
	f, out := fetcher(newFakeStore(t))
	id := importACI(t, f, imageManifest("example.com/a", hostPlatformLabels("1")))
	f.Insecure.Image = false
	for _, policy := range []Policy{New, Never} {
		got, err := f.Fetch(t.Context(), "example.com/a:1", ImageOptions{Policy: policy})
		if err != nil || got != id {
			t.Errorf("got %s, %v", got, err)
		}
	}
	out.has(t, "image: using image from local store for image name example.com/a:1")
	_, err := f.Fetch(t.Context(), "example.com/a:2", ImageOptions{Policy: Never})
	wantError(t, err, `unable to fetch image from image name "example.com/a:2": either image was not found in the store or store was disabled and fetching from remote yielded nothing or it was disabled`)
	_, err = f.Fetch(t.Context(), "example.com/a,os=plan9", ImageOptions{})
	wantError(t, err, `invalid Appc distribution "cimd:appc:v=0:example.com/a?os=plan9"`, `bad os "plan9" (must be one of: [linux])`)
	_, err = f.Fetch(t.Context(), "example.com/a,arch=vax,os=linux", ImageOptions{})
	wantError(t, err, `bad arch "vax" for linux (must be one of: [amd64`)
}

func TestDependencies(t *testing.T) {
	f, out := fetcher(newFakeStore(t))
	image := func(name string, dependencies ...string) appc.ImageID {
		return importACI(t, f, imageManifest(name, hostPlatformLabels("1")+`,"dependencies":[`+strings.Join(dependencies, ",")+`]`))
	}
	named := func(name string) string { return fmt.Sprintf(`{"imageName":%q}`, name) }
	base := image("x/base")
	image("x/left", named("x/base"))
	image("x/right", fmt.Sprintf(`{"imageName":"x/base","imageID":%q}`, base))
	top := image("x/top", `{"imageName":"x/left","labels":[{"name":"version","value":"1"}]}`, named("x/right"))
	got, err := f.Fetch(t.Context(), "x/top", ImageOptions{})
	if err != nil || got != top {
		t.Fatal(err)
	}
	// Breadth first, each name as its canonical form.
	want := "image name x/top\nimage name x/left:1\nimage name x/right\nimage name x/base\n"
	var names strings.Builder
	for line := range strings.Lines(out.String()) {
		if _, name, ok := strings.Cut(line, "using image from local store for "); ok {
			names.WriteString(name)
		}
	}
	if !strings.HasPrefix(names.String(), want) {
		t.Errorf("order:\n%s", names.String())
	}
	for name, tc := range map[string]struct{ dependency, err string }{
		"missing":  {named("x/missing"), `unable to fetch image from image name "x/missing"`},
		"wrong id": {fmt.Sprintf(`{"imageName":"x/base","imageID":"sha512-%s"}`, strings.Repeat("0", 128)), "image ID sha512-"},
		"size":     {`{"imageName":"x/base","size":7}`, "size 7 expected but"},
	} {
		t.Run(name, func(t *testing.T) {
			image("x/bad-"+strings.ReplaceAll(name, " ", "-"), tc.dependency)
			_, err := f.Fetch(t.Context(), "x/bad-"+strings.ReplaceAll(name, " ", "-"), ImageOptions{Policy: Never})
			wantError(t, err, tc.err)
			if _, err := f.Fetch(t.Context(), "x/bad-"+strings.ReplaceAll(name, " ", "-"), ImageOptions{NoDeps: true}); err != nil {
				t.Error(err)
			}
		})
	}
	image("x/ring1", named("x/ring2"))
	image("x/ring2", named("x/ring3"))
	image("x/ring3", named("x/ring1"))
	_, err = f.Fetch(t.Context(), "x/ring1", ImageOptions{})
	wantError(t, err, "dependency cycle: x/ring3 depends on x/ring1")
}
