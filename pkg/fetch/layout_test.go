// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// layoutFiles are the files of an OCI image layout with the given entries.
func layoutFiles(index string, images ...*ociImage) map[string]string {
	files := map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"manifests":[` + index + `]}`,
	}
	for _, i := range images {
		for digest, data := range i.blobs {
			files["blobs/sha256/"+digest[len("sha256:"):]] = string(data)
		}
	}
	return files
}

func named(i *ociImage, ref string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}`,
		ociconv.OCIManifest, i.manifest, len(i.blobs[i.manifest]), ref)
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my-image")
	for name, content := range files {
		writeFile(t, dir, name, content)
	}
	return dir
}

func writeTar(t *testing.T, files map[string]string, kind compression.Type, more ...tar.Header) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "my-archive.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := compression.NewWriter(f, kind)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, h := range more {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []io.Closer{w, z, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// want checks where the stored image came from and what it is called.
func (s *fakeStore) want(t *testing.T, f *Fetcher, image string, want *ociImage, name, version string) {
	t.Helper()
	id, err := f.Fetch(t.Context(), image, ImageOptions{Policy: Update})
	if err != nil {
		t.Fatal(err)
	}
	got := s.images[id]
	if want.manifest != "" && got.oci.ManifestDigest != want.manifest {
		t.Errorf("got manifest %s, want %s", got.oci.ManifestDigest, want.manifest)
	}
	v, _ := got.manifest.Labels.Get("version")
	if got.manifest.Name.String() != name || v != version {
		t.Errorf("got name %s version %q, want %s %q", got.manifest.Name, v, name, version)
	}
	imports := s.imports
	again, err := f.Fetch(t.Context(), image, ImageOptions{})
	if err != nil || again != id || s.imports != imports {
		t.Errorf("again: %s, %v, %d imports more", again, err, s.imports-imports)
	}
}

func TestLayout(t *testing.T) {
	one := makeImage(t, "one", linuxAMD64, compression.Gzip, compression.Zstd)
	two := makeImage(t, "two", linuxAMD64, compression.None)
	single := layoutFiles(named(one, "12"), one)
	both := layoutFiles(named(one, "debian:12")+","+named(two, "2"), one, two)
	for _, kind := range []compression.Type{"", compression.None, compression.Gzip, compression.Zstd} {
		t.Run("archive "+string(kind), func(t *testing.T) {
			store := newFakeStore(t)
			f, _ := fetcher(store)
			prefix, name := "oci:", "my-image"
			write := func(files map[string]string) string { return writeFiles(t, files) }
			if kind != "" {
				prefix, name = "oci-archive:", "my-archive"
				write = func(files map[string]string) string { return writeTar(t, files, kind) }
			}
			path := write(single)
			store.want(t, f, prefix+path, one, name, "12")
			store.want(t, f, prefix+path+":12", one, name, "12")
			path = write(both)
			store.want(t, f, prefix+path+":debian:12", one, "debian", "12")
			store.want(t, f, prefix+path+":2", two, name, "2")
			store.want(t, f, prefix+path+"@"+two.manifest, two, name, "2")
			_, err := f.Fetch(t.Context(), prefix+path, ImageOptions{})
			wantError(t, err, "several images", "available: debian:12, 2")
			_, err = f.Fetch(t.Context(), prefix+path+":3", ImageOptions{})
			wantError(t, err, `no image "3"; available: debian:12, 2`)
			_, err = f.Fetch(t.Context(), prefix+path+":2@"+one.manifest, ImageOptions{})
			wantError(t, err, `image "2" does not have the digest `+one.manifest)
			if left := store.leftovers(t); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func TestLayoutPlatforms(t *testing.T) {
	amd := makeImage(t, "amd", linuxAMD64, compression.Gzip)
	arm := makeImage(t, "arm", `"os":"linux","architecture":"arm64",`, compression.Gzip)
	index := []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s,%s]}`, entryFor(amd, "linux/amd64"), entryFor(arm, "linux/arm64")))
	digest := digestOf("sha256", index)
	files := layoutFiles(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, ociconv.OCIIndex, digest, len(index)), amd, arm)
	files["blobs/sha256/"+digest[7:]] = string(index)
	direct := layoutFiles(entryFor(amd, "linux/amd64")+","+entryFor(arm, "linux/arm64"), amd, arm)
	for _, files := range []map[string]string{files, direct} {
		dir := writeFiles(t, files)
		for arch, want := range map[string]*ociImage{"amd64": amd, "arm64": arm} {
			store := newFakeStore(t)
			f, _ := fetcher(store)
			f.Platform = ociconv.Platform{OS: "linux", Architecture: arch}
			store.want(t, f, "oci:"+dir, want, "my-image", "")
		}
	}
}

func TestLayoutErrors(t *testing.T) {
	image := makeImage(t, "one", linuxAMD64, compression.Gzip)
	layer := "blobs/sha256/" + image.layers[0].Digest[7:]
	for name, tc := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"no oci-layout":  {func(m map[string]string) { delete(m, "oci-layout") }, "not an OCI image layout"},
		"other version":  {func(m map[string]string) { m["oci-layout"] = `{"imageLayoutVersion":"2.0.0"}` }, `version "2.0.0" is not supported`},
		"no index":       {func(m map[string]string) { delete(m, "index.json") }, "no such file"},
		"empty index":    {func(m map[string]string) { m["index.json"] = `{}` }, "holds no image"},
		"not JSON":       {func(m map[string]string) { m["index.json"] = `x` }, "parse image index"},
		"large index":    {func(m map[string]string) { m["index.json"] = strings.Repeat(" ", ociconv.MaxManifest+1) }, "larger than the limit"},
		"bad digest":     {func(m map[string]string) { m["index.json"] = `{"manifests":[{"digest":"sha256:../../x","size":1}]}` }, "unsupported digest"},
		"layer changed":  {func(m map[string]string) { m[layer] = "X" + m[layer][1:] }, "digest does not match"},
		"layer missing":  {func(m map[string]string) { delete(m, layer) }, "no such file"},
		"layer cut":      {func(m map[string]string) { m[layer] = m[layer][1:] }, "bytes expected but"},
		"manifest wrong": {func(m map[string]string) { m["blobs/sha256/"+image.manifest[7:]] += " " }, "bytes expected but"},
	} {
		t.Run(name, func(t *testing.T) {
			files := layoutFiles(named(image, "1"), image)
			tc.change(files)
			f, _ := fetcher(newFakeStore(t))
			_, err := f.Fetch(t.Context(), "oci:"+writeFiles(t, files), ImageOptions{})
			wantError(t, err, tc.want)
			_, err = f.Fetch(t.Context(), "oci-archive:"+writeTar(t, files, compression.None), ImageOptions{})
			wantError(t, err, strings.Replace(tc.want, "no such file", "not found", 1))
		})
	}
}

// Links out of a layout, and what is no file, are refused without waiting.
func TestLayoutHostile(t *testing.T) {
	image := makeImage(t, "one", linuxAMD64, compression.Gzip)
	dir := writeFiles(t, layoutFiles(named(image, "1"), image))
	outside := writeFile(t, t.TempDir(), "index.json", `{}`)
	index := filepath.Join(dir, "index.json")
	f, _ := fetcher(newFakeStore(t))
	for name, replace := range map[string]func() error{
		"link": func() error { return os.Symlink(outside, index) },
		"fifo": func() error { return syscall.Mkfifo(index, 0o644) },
		"dir":  func() error { return os.Mkdir(index, 0o755) },
	} {
		if err := os.RemoveAll(index); err != nil {
			t.Fatal(err)
		}
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		_, err := f.Fetch(t.Context(), "oci:"+dir, ImageOptions{})
		wantError(t, err, "index.json")
		_ = name
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := f.Fetch(t.Context(), "oci-archive:"+fifo, ImageOptions{})
	wantError(t, err, "not a regular file")
}

func TestTarTree(t *testing.T) {
	path := writeTar(t, map[string]string{"a/file": "content", "b": "other"}, compression.None,
		tar.Header{Name: "a/link", Typeflag: tar.TypeSymlink, Linkname: "../b"},
		tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "a/file"},
		tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../../etc/passwd"},
		tar.Header{Name: "abs", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		tar.Header{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "loop"},
	)
	tree, err := openTar(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	for name, want := range map[string]string{"a/file": "content", "a/link": "other", "hard": "content", "./b": "other"} {
		if data, err := readFile(tree, name, 100); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"out", "abs", "loop", "missing", "a", "../b", ""} {
		if data, err := readFile(tree, name, 100); err == nil {
			t.Errorf("%s: %q", name, data)
		}
	}
	if _, err := openTar(t.Context(), writeTar(t, nil, compression.None, tar.Header{Name: "../x", Typeflag: tar.TypeReg}), ""); err == nil {
		t.Error("an entry above the archive was accepted")
	}
}

// dockerSaved are the files of "docker save" in the form of docker 1.10 to 24.
func dockerSaved(t *testing.T, images map[string]*ociImage) map[string]string {
	t.Helper()
	files := map[string]string{}
	var list []saved
	for _, tag := range sortedKeys(images) {
		i := images[tag]
		entry := saved{RepoTags: []string{tag}}
		for digest, data := range i.blobs {
			switch {
			case digest == i.manifest:
			case slices.ContainsFunc(i.layers, func(d ociconv.Descriptor) bool { return d.Digest == digest }):
			default:
				entry.Config = digest[7:] + ".json"
				files[entry.Config] = string(data)
			}
		}
		for _, l := range i.layers {
			name := l.Digest[7:] + "/layer.tar"
			files[name] = string(i.blobs[l.Digest])
			entry.Layers = append(entry.Layers, name)
		}
		list = append(list, entry)
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = string(data)
	return files
}

func sortedKeys(m map[string]*ociImage) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestDockerArchive(t *testing.T) {
	one := makeImage(t, "one", linuxAMD64, compression.None, compression.Gzip)
	two := makeImage(t, "two", linuxAMD64, compression.None)
	whatever := &ociImage{}
	store := newFakeStore(t)
	f, _ := fetcher(store)
	path := writeTar(t, dockerSaved(t, map[string]*ociImage{"debian:12": one}), compression.Gzip)
	store.want(t, f, "docker-archive:"+path, whatever, "debian", "12")
	path = writeTar(t, dockerSaved(t, map[string]*ociImage{"debian:12": one, "h:5000/two:latest": two}), compression.None)
	store.want(t, f, "docker-archive:"+path+":debian:12", whatever, "debian", "12")
	store.want(t, f, "docker-archive:"+path+":docker.io/library/debian:12", whatever, "docker.io/library/debian", "12")
	store.want(t, f, "docker-archive:"+path+":h:5000/two", whatever, "h_5000/two", "latest")
	store.want(t, f, "docker-archive:"+path+":@1", whatever, "h_5000/two", "latest")
	for ref, want := range map[string]string{
		"":    "2 images, choose one by appending :NAME:TAG or :@N; available: debian:12, h:5000/two:latest",
		":@2": "no image @2: the archive has 2", ":debian:11": `no image "debian:11"; available: debian:12, h:5000/two:latest`,
	} {
		_, err := f.Fetch(t.Context(), "docker-archive:"+path+ref, ImageOptions{})
		wantError(t, err, want)
	}
}

// Since docker 25 the archive is an image layout as well.
func TestDockerArchiveLayout(t *testing.T) {
	one := makeImage(t, "one", linuxAMD64, compression.None)
	files := layoutFiles(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"io.containerd.image.name":"docker.io/library/debian:12","org.opencontainers.image.ref.name":"12"}}`,
		ociconv.OCIManifest, one.manifest, len(one.blobs[one.manifest])), one)
	files["manifest.json"] = "not used"
	store := newFakeStore(t)
	f, _ := fetcher(store)
	path := writeTar(t, files, compression.None)
	store.want(t, f, "docker-archive:"+path, one, "debian", "12")
	store.want(t, f, "docker-archive:"+path+":debian:12", one, "debian", "12")
	_, err := f.Fetch(t.Context(), "docker-archive:"+path+":debian:13", ImageOptions{})
	wantError(t, err, `no image "debian:13"`)
}

// Before docker 1.10 each layer has a config and names its parent.
func TestDockerArchiveLegacy(t *testing.T) {
	base, top := strings.Repeat("a", 64), strings.Repeat("b", 64)
	files := map[string]string{
		"repositories":      fmt.Sprintf(`{"busybox":{"latest":%q}}`, top),
		base + "/json":      `{"id":"` + base + `"}`,
		base + "/layer.tar": string(makeLayer(t, "base")),
		top + "/json":       `{"id":"` + top + `","parent":"` + base + `","os":"linux","architecture":"amd64","config":{"Cmd":["/bin/sh"]}}`,
		top + "/layer.tar":  string(makeLayer(t, "top")),
	}
	store := newFakeStore(t)
	f, _ := fetcher(store)
	store.want(t, f, "docker-archive:"+writeTar(t, files, compression.None), &ociImage{}, "busybox", "latest")
	for _, i := range store.images {
		if len(i.oci.Layers) != 2 || i.oci.Layers[0].DiffID != digestOf("sha256", []byte(files[base+"/layer.tar"])) || i.manifest.App.Exec[0] != "/bin/sh" {
			t.Errorf("got %+v", i.oci)
		}
	}
	// Equal layers are links.
	delete(files, top+"/layer.tar")
	link := tar.Header{Name: top + "/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../" + base + "/layer.tar"}
	store.want(t, f, "docker-archive:"+writeTar(t, files, compression.None, link), &ociImage{}, "busybox", "latest")
	for name, change := range map[string]func(map[string]string){
		"dependency loop detected at image": func(m map[string]string) { m[base+"/json"] = `{"parent":"` + base + `"}` },
		"invalid layer ID":                  func(m map[string]string) { m[base+"/json"] = `{"parent":"../../etc"}` },
		"not found":                         func(m map[string]string) { m[base+"/json"] = `{"parent":"cc"}` },
	} {
		changed := map[string]string{}
		for k, v := range files {
			changed[k] = v
		}
		change(changed)
		_, err := f.Fetch(t.Context(), "docker-archive:"+writeTar(t, changed, compression.None, link), ImageOptions{})
		wantError(t, err, name)
	}
}

func TestDockerArchiveErrors(t *testing.T) {
	one := makeImage(t, "one", linuxAMD64, compression.None)
	for name, tc := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"nothing":     {func(m map[string]string) { clear(m) }, "not a docker archive"},
		"no images":   {func(m map[string]string) { m["manifest.json"] = "[]" }, "names no image"},
		"not JSON":    {func(m map[string]string) { m["manifest.json"] = "{" }, "manifest.json"},
		"config path": {func(m map[string]string) { m["manifest.json"] = `[{"Config":"../../etc/passwd","Layers":[]}]` }, "invalid argument"},
		"fewer layers": {func(m map[string]string) {
			m["manifest.json"] = strings.Replace(m["manifest.json"], `"Layers":[`, `"Layers":["x",`, 1)
		}, "archive has 2 layers but"},
		"config changed": {func(m map[string]string) {
			for k := range m {
				if strings.HasSuffix(k, ".json") && k != "manifest.json" {
					m[k] += " "
				}
			}
		}, "digest does not match"},
		"layer changed": {func(m map[string]string) {
			for k := range m {
				if strings.HasSuffix(k, "layer.tar") {
					m[k] = strings.Replace(m[k], "one", "two", 5)
				}
			}
		}, "digest does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			files := dockerSaved(t, map[string]*ociImage{"a:1": one})
			tc.change(files)
			f, _ := fetcher(newFakeStore(t))
			_, err := f.Fetch(t.Context(), "docker-archive:"+writeTar(t, files, compression.None), ImageOptions{})
			wantError(t, err, tc.want)
		})
	}
}

// FuzzTarTree: whatever an archive says, only its own bytes are read.
func FuzzTarTree(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a", Size: 3, Typeflag: tar.TypeReg})
	_, _ = w.Write([]byte("abc"))
	_ = w.WriteHeader(&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"})
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		// In memory: a directory for each input would be most of the work.
		fd, err := unix.MemfdCreate("archive", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "archive")
		defer file.Close()
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		tree, err := openTar(t.Context(), fmt.Sprintf("/proc/self/fd/%d", fd), os.TempDir())
		if err != nil {
			return
		}
		defer tree.close()
		for name := range tree.entries {
			got, err := readFile(tree, name, 1<<20)
			if err == nil && len(got) > 0 && compression.Detect(data) == compression.None && !bytes.Contains(data, got) {
				t.Errorf("%q holds %d bytes that are not in the archive", name, len(got))
			}
		}
	})
}
