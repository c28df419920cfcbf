// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/rkt/rkt/v2/tests/harness"
)

// overHTTP lets the host talk to registries without TLS.
func overHTTP(h *harness.Host) *harness.Host {
	h.Flags = []string{"--insecure-options=image,http"}
	return h
}

func busyboxOCI(t *testing.T, o harness.OCIOptions) v1.Image {
	t.Helper()
	if o.Config.Cmd == nil {
		o.Config.Cmd = []string{"/bin/sh"}
	}
	return harness.OCIImage(t, o, harness.BusyboxEntries(t), []harness.Entry{harness.File("etc/layer", 0o644, "second\n")})
}

// TestDebianFromDockerRegistry is the acceptance line of the project: a real
// Debian from a real registry says who it is.
func TestDebianFromDockerRegistry(t *testing.T) {
	h := newHost(t)
	addr := harness.DockerRegistry(t)
	image := harness.SkopeoPush(t, harness.DebianLayout(t), addr, "debian")
	overHTTP(h)
	out := h.OK("run", "--net=host", image, "--exec", "/bin/sh", "--", "-c", "cat /etc/os-release")
	if !strings.Contains(out, "ID=debian") {
		t.Errorf("os-release of the Debian image:\n%s", out)
	}
	out = h.OK("run", "--net=host", image, "--exec=/usr/bin/dpkg", "--", "--verify")
	if strings.TrimSpace(out) != "" {
		t.Errorf("dpkg --verify in the pod finds changed files:\n%s", out)
	}
}

// TestRegistryImageForms fetches by tag and by digest, and what is not there.
func TestRegistryImageForms(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	img := busyboxOCI(t, harness.OCIOptions{})
	image := harness.Push(t, reg.Addr, "some/box:v1", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	id := h.Fetch(image)
	if again := h.Fetch(image); again != id {
		t.Errorf("fetched again: %s, want %s", again, id)
	}
	repo, _, _ := strings.Cut(image, ":v1")
	byDigest := h.Fetch(repo + "@" + digest.String())
	if byDigest == id {
		t.Errorf("an image by digest has no version label, so its ID must differ")
	}
	list := h.OK("image", "list", "--no-legend", "--full", "--fields=id,name")
	for _, want := range []string{id, byDigest, "/some/box:v1"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %s in:\n%s", want, list)
		}
	}
	h.Fail(254, "", "fetch", repo+":nothere")
	h.Fail(254, "unable to fetch docker image from URL", "fetch", "--pull-policy=never", repo+":nothere")
}

// TestRegistryUnchangedIsNotFetched: `update` compares digests (images.md 17 #4).
func TestRegistryUnchangedIsNotFetched(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	image := harness.Push(t, reg.Addr, "box:latest", busyboxOCI(t, harness.OCIOptions{}))
	id := h.Fetch(image)
	reg.Reset()
	if got := h.Fetch(image); got != id {
		t.Errorf("ID changed from %s to %s", id, got)
	}
	if sent, blobs, _ := reg.Sent(); sent > 0 {
		t.Errorf("the second fetch of an unchanged image got %d blobs, %d bytes", blobs, sent)
	}
}

func TestRegistryZstdAndList(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	image := harness.Push(t, reg.Addr, "zstd:v1", busyboxOCI(t, harness.OCIOptions{Zstd: true}))
	if out := h.OK("run", "--net=host", image, "--exec=/bin/cat", "--", "/etc/layer"); out != "second\n" {
		t.Errorf("zstd layers: %q", out)
	}

	mine := busyboxOCI(t, harness.OCIOptions{Config: v1.Config{Env: []string{"WHICH=mine"}}})
	other := busyboxOCI(t, harness.OCIOptions{Config: v1.Config{Env: []string{"WHICH=other"}}})
	arch := map[string]string{"amd64": "amd64", "aarch64": "arm64"}[harness.HostArch()]
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
		mutate.IndexAddendum{Add: mine, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	ref, err := name.ParseReference(reg.Addr+"/list:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	out := h.OK("run", "--net=host", "docker://"+reg.Addr+"/list:v1", "--exec=/bin/sh", "--", "-c", "echo $WHICH")
	if out != "mine\n" {
		t.Errorf("the list was resolved to %q, want the image for this machine", out)
	}
}

// TestSecondImageSharesLayers: seven of eight layers are there already.
func TestSecondImageSharesLayers(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	layers := [][]harness.Entry{harness.BusyboxEntries(t)}
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		layers = append(layers, harness.Layer("data-"+n, 20, 20_000))
	}
	one := harness.Push(t, reg.Addr, "one:v1", harness.OCIImage(t, harness.OCIOptions{}, append(layers, harness.Layer("last-1", 20, 20_000))...))
	two := harness.Push(t, reg.Addr, "two:v1", harness.OCIImage(t, harness.OCIOptions{}, append(layers, harness.Layer("last-2", 20, 20_000))...))
	h.Fetch(one)
	before := countTrees(t, h)
	reg.Reset()
	h.Fetch(two)
	sent, blobs, most := reg.Sent()
	if blobs > 2 || most > 1 { // the layer and the config
		t.Errorf("second image: %d different blobs, one of them %d times, %d bytes; want the eighth layer and the config", blobs, most, sent)
	}
	if made := countTrees(t, h) - before; made > 2 {
		t.Errorf("second image made %d trees, want the eighth layer's and the image's own", made)
	}
}

func countTrees(t *testing.T, h *harness.Host) int {
	t.Helper()
	trees, err := os.ReadDir(filepath.Join(h.Dir, "cas", "tree"))
	if err != nil {
		t.Fatal(err)
	}
	return len(trees)
}

// cutLayer makes the registry break off the first transfer of a layer in the
// middle. Later requests go to next, nil is the registry itself. It returns
// how many requests had a range.
func cutLayer(t *testing.T, reg *harness.Registry, layer v1.Layer, next http.HandlerFunc) *atomic.Int32 {
	t.Helper()
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layer.Size()
	if err != nil {
		t.Fatal(err)
	}
	var ranges atomic.Int32
	var cut atomic.Bool
	reg.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, digest.String()) || r.Method != http.MethodGet {
			return false
		}
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		if !cut.CompareAndSwap(false, true) {
			if next == nil {
				return false
			}
			next(w, r)
			return true
		}
		blob, err := layer.Compressed()
		if err != nil {
			return false
		}
		defer func() { _ = blob.Close() }()
		w.Header().Set("Content-Length", itoa(size))
		_, _ = io.CopyN(w, blob, size/2)
		panic(http.ErrAbortHandler)
	})
	return &ranges
}

func bigLayers(t *testing.T, reg *harness.Registry) (image string, layer v1.Layer) {
	t.Helper()
	img := harness.OCIImage(t, harness.OCIOptions{}, harness.BusyboxEntries(t), harness.Layer("big", 4, 2<<20))
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return harness.Push(t, reg.Addr, "big:v1", img), layers[1]
}

// TestBrokenLayerDownloadResumes cuts the connection in the middle of a layer.
func TestBrokenLayerDownloadResumes(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	image, layer := bigLayers(t, reg)
	blob, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(blob)
	if err != nil {
		t.Fatal(err)
	}
	ranges := cutLayer(t, reg, layer, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", harness.Epoch, bytes.NewReader(raw))
	})
	if first := h.Run("fetch", image); first.Status != 0 {
		h.Fetch(image)
	}
	if ranges.Load() == 0 {
		t.Errorf("the rest of the layer was not asked for by range")
	}
	h.OK("image", "fsck")
}

// TestRangeRefused: a registry that knows no ranges (416) costs the first
// half again, no more.
func TestRangeRefused(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	image, layer := bigLayers(t, reg)
	cutLayer(t, reg, layer, nil) // the in-process registry refuses open ranges
	if first := h.Run("fetch", image); first.Status != 0 {
		h.Fetch(image)
	}
	h.OK("image", "fsck")
}

// TestLyingRegistry: wrong bytes under a digest never reach the store.
func TestLyingRegistry(t *testing.T) {
	h := overHTTP(newHost(t))
	reg := harness.NewRegistry(t)
	image := harness.Push(t, reg.Addr, "lie:v1", busyboxOCI(t, harness.OCIOptions{}))
	for what, kind := range map[string]string{"layer or config": "/blobs/", "manifest": "/manifests/sha256"} {
		reg.SetFault(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, kind) || r.Method != http.MethodGet {
				return false
			}
			_, _ = io.WriteString(w, strings.Repeat("lie ", 1000))
			return true
		})
		target := image
		if what == "manifest" {
			target = strings.TrimSuffix(image, ":v1") + "@sha256:" + strings.Repeat("ab", 32)
		}
		if r := h.Run("fetch", target); r.Status != 254 {
			t.Errorf("a wrong %s is accepted: %s", what, r)
		}
	}
	reg.SetFault(nil)
	if out := h.OK("image", "list", "--no-legend"); out != "" {
		t.Errorf("an image came out of it: %s", out)
	}
	h.Fetch(image)
	h.OK("image", "fsck")
}

// TestLocalOCIForms: the same image from a layout, an OCI archive and a docker archive.
func TestLocalOCIForms(t *testing.T) {
	h := newHost(t)
	layout := harness.WriteLayout(t, busyboxOCI(t, harness.OCIOptions{}))
	dir := t.TempDir()
	ociArchive, dockerArchive := filepath.Join(dir, "oci.tar"), filepath.Join(dir, "docker.tar")
	harness.Command(t, "skopeo", "--insecure-policy", "copy", "--quiet", "oci:"+layout+":"+harness.Tag, "oci-archive:"+ociArchive+":"+harness.Tag)
	harness.Command(t, "skopeo", "--insecure-policy", "copy", "--quiet", "oci:"+layout+":"+harness.Tag, "docker-archive:"+dockerArchive+":box:"+harness.Tag)
	for _, image := range []string{"oci:" + layout, "oci:" + layout + ":" + harness.Tag, "oci-archive:" + ociArchive, "docker-archive:" + dockerArchive} {
		out := h.OK("run", "--net=host", image, "--exec=/bin/cat", "--", "/etc/layer")
		if out != "second\n" {
			t.Errorf("%s: %q", image, out)
		}
	}
}
