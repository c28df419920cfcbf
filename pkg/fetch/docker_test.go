// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

func TestDocker(t *testing.T) {
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprintf("https %v", secure), func(t *testing.T) {
			h := newHub(t, secure)
			image := makeImage(t, "x", linuxAMD64, compression.Gzip, compression.Zstd, compression.None, compression.Gzip, compression.Gzip)
			h.push(t, "my/app", "latest", image)
			store := newFakeStore(t)
			f, out := fetcher(store)
			f.Insecure.TLS = true
			id, err := f.Fetch(t.Context(), h.ref("my/app"), ImageOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := store.images[id]
			if !got.latest || got.oci.ManifestDigest != image.manifest || len(got.oci.Layers) != 5 {
				t.Errorf("stored %+v", got)
			}
			name := strings.ReplaceAll(host(h.Server), ":", "_") + "/my/app"
			if got.manifest.Name.String() != name || got.manifest.App == nil {
				t.Errorf("manifest %+v", got.manifest)
			}
			if r := store.remotes[h.ref("my/app")]; r.Key != id || r.ManifestDigest != image.manifest {
				t.Errorf("remote %+v", r)
			}
			out.has(t, fmt.Sprintf("image: remote fetching from URL %q", h.ref("my/app")), "image: fetching image from "+h.ref("my/app"))
			if store.most > defaultConcurrent {
				t.Errorf("%d layers at once", store.most)
			}
			h.seen("")
			for _, policy := range []Policy{New, Never} {
				again, err := f.Fetch(t.Context(), h.ref("my/app"), ImageOptions{Policy: policy})
				if err != nil || again != id {
					t.Errorf("%s: %s, %v", policy, again, err)
				}
			}
			out.has(t, "image: using image from local store for url "+h.ref("my/app"))
			if seen := h.seen(""); len(seen) > 0 {
				t.Errorf("requests %v", seen)
			}
		})
	}
}

func TestDockerPolicies(t *testing.T) {
	f, _ := fetcher(newFakeStore(t))
	_, err := f.Fetch(t.Context(), "docker://127.0.0.1:1/a", ImageOptions{Policy: Never})
	wantError(t, err, `unable to fetch docker image from URL "docker://127.0.0.1:1/a": either image was not found in the store or`)
	_, err = f.Fetch(t.Context(), "docker://127.0.0.1:1/a", ImageOptions{})
	wantError(t, err, "error converting docker image to ACI", "connection refused")
	_, err = f.Fetch(t.Context(), "docker://127.0.0.1:1/A", ImageOptions{})
	wantError(t, err, "docker distribution creation error: invalid docker URL")
}

func TestDockerUpdate(t *testing.T) {
	h := newHub(t, true)
	one, two := makeImage(t, "x", linuxAMD64, compression.Gzip), makeImage(t, "y", linuxAMD64, compression.Gzip)
	h.push(t, "app", "1", one)
	store := newFakeStore(t)
	f, _ := fetcher(store)
	f.Insecure.TLS = true
	get := func() appc.ImageID {
		t.Helper()
		id, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{Policy: Update})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := get()
	old := store.remotes[h.ref("app:1")]
	old.Downloaded = time.Unix(0, 0)
	store.remotes[h.ref("app:1")] = old
	h.seen("")
	if again := get(); again != first || store.imports != 1 {
		t.Errorf("unchanged image was imported again: %s, %s", first, again)
	}
	if seen := h.seen("GET /v2/app"); len(seen) > 0 {
		t.Errorf("unchanged image: %v", seen)
	}
	if r := store.remotes[h.ref("app:1")]; time.Since(r.Downloaded) > time.Minute {
		t.Errorf("not refreshed: %+v", r)
	}
	h.push(t, "app", "1", two)
	if changed := get(); changed == first || store.remotes[h.ref("app:1")].Key != changed {
		t.Error("changed image was not imported")
	}
	if store.images[first].latest {
		t.Error("an image with a tag is latest")
	}
}

func pushIndex(t testing.TB, h *hub, repo, tag, mediaType string, entries ...string) string {
	t.Helper()
	data := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, mediaType, strings.Join(entries, ",")))
	h.do(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, mediaType, data)
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":"amd64"}}`, mediaType, digestOf("sha256", data), len(data))
}

func entryFor(i *ociImage, platform string) string {
	p, err := ociconv.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":%q,"architecture":%q}}`,
		ociconv.OCIManifest, i.manifest, len(i.blobs[i.manifest]), p.OS, p.Architecture)
}

func TestManifestList(t *testing.T) {
	h := newHub(t, true)
	amd := makeImage(t, "amd", linuxAMD64, compression.Gzip)
	arm := makeImage(t, "arm", `"os":"linux","architecture":"arm64",`, compression.Gzip)
	h.push(t, "app", "amd", amd)
	h.push(t, "app", "arm", arm)
	nested := pushIndex(t, h, "app", "multi", ociconv.OCIIndex, entryFor(arm, "linux/arm64"), entryFor(amd, "linux/amd64"))
	pushIndex(t, h, "app", "list", ociconv.DockerManifestList, entryFor(arm, "linux/arm64"), entryFor(amd, "linux/amd64"))
	pushIndex(t, h, "app", "nested", ociconv.OCIIndex, nested)
	deep := nested
	for i := range maxIndexDepth {
		deep = pushIndex(t, h, "app", fmt.Sprintf("deep%d", i), ociconv.OCIIndex, deep)
	}
	pushIndex(t, h, "app", "deep", ociconv.OCIIndex, deep)
	pushIndex(t, h, "app", "wrongsize", ociconv.OCIIndex, strings.Replace(entryFor(amd, "linux/amd64"), `"size":`, `"size":1`, 1))
	linux := ociconv.Platform{OS: "linux", Architecture: "amd64"}
	for _, tc := range []struct {
		tag      string
		platform ociconv.Platform
		want     *ociImage
		err      string
	}{
		{"multi", linux, amd, ""},
		{"list", linux, amd, ""},
		{"nested", linux, amd, ""},
		{"multi", ociconv.Platform{OS: "linux", Architecture: "arm64"}, arm, ""},
		{"multi", ociconv.Platform{OS: "linux", Architecture: "s390x"}, nil, "want linux/s390x, available: linux/arm64, linux/amd64"},
		{"deep", linux, nil, "nested deeper"},
		{"wrongsize", linux, nil, "bytes expected but"},
	} {
		store := newFakeStore(t)
		f, _ := fetcher(store)
		f.Insecure.TLS = true
		f.Platform = tc.platform
		id, err := f.Fetch(t.Context(), h.ref("app:"+tc.tag), ImageOptions{})
		if tc.want == nil {
			wantError(t, err, tc.err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := store.images[id].oci.ManifestDigest; got != tc.want.manifest {
			t.Errorf("%s for %s: got %s", tc.tag, tc.platform, got)
		}
		// Unchanged: nothing but the index is read again.
		h.seen("")
		if _, err := f.Fetch(t.Context(), h.ref("app:"+tc.tag), ImageOptions{Policy: Update}); err != nil {
			t.Error(err)
		}
		if seen := h.seen("GET /v2/app/blobs"); len(seen) > 0 || store.imports != 1 {
			t.Errorf("unchanged image: %v", seen)
		}
		// Another platform is not satisfied by what is stored.
		f.Platform = ociconv.Platform{OS: "linux", Architecture: "s390x"}
		_, err = f.Fetch(t.Context(), h.ref("app:"+tc.tag), ImageOptions{Policy: Never})
		wantError(t, err, "unable to fetch docker image")
	}
}

func TestDockerByDigest(t *testing.T) {
	h := newHub(t, true)
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	h.push(t, "app", "1", image)
	store := newFakeStore(t)
	f, _ := fetcher(store)
	f.Insecure.TLS = true
	id, err := f.Fetch(t.Context(), h.ref("app:1@"+image.manifest), ImageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := store.images[id].manifest.Labels.Get("version"); ok || store.images[id].latest {
		t.Errorf("version %q", v)
	}
	other := makeImage(t, "other", linuxAMD64, compression.Gzip)
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", ociconv.OCIManifest)
		_, _ = w.Write(other.blobs[other.manifest])
		return true
	})
	f.Store = newFakeStore(t)
	_, err = f.Fetch(t.Context(), h.ref("app@"+image.manifest), ImageOptions{})
	wantError(t, err, "digest does not match: "+image.manifest+" expected but "+other.manifest+" found")
}

// Content that is not what the manifest says is refused.
func TestDockerWrongContent(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	config := ""
	for d := range image.blobs {
		if d != image.manifest && d != image.layers[0].Digest {
			config = d
		}
	}
	flip := func(data []byte) []byte {
		data = slices.Clone(data)
		data[len(data)/2] ^= 1
		return data
	}
	for name, tc := range map[string]struct {
		digest string
		data   func([]byte) []byte
		want   string
	}{
		"layer":        {image.layers[0].Digest, flip, "digest does not match"},
		"short layer":  {image.layers[0].Digest, func(b []byte) []byte { return b[:len(b)-1] }, "bytes expected but"},
		"long layer":   {image.layers[0].Digest, func(b []byte) []byte { return append(slices.Clone(b), 0) }, "bytes expected but"},
		"config":       {config, flip, "digest does not match"},
		"short config": {config, func(b []byte) []byte { return b[:len(b)-1] }, "bytes expected but"},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s chunked %v", name, chunked), func(t *testing.T) {
				h := newHub(t, true)
				h.push(t, "app", "1", image)
				h.set(func(w http.ResponseWriter, req *http.Request) bool {
					if !strings.HasSuffix(req.URL.Path, tc.digest) || req.Method != http.MethodGet {
						return false
					}
					if chunked {
						_ = http.NewResponseController(w).Flush()
					}
					_, _ = w.Write(tc.data(image.blobs[tc.digest]))
					return true
				})
				f, _ := fetcher(newFakeStore(t))
				f.Insecure.TLS = true
				_, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{})
				if chunked {
					tc.want = "" // a missing byte is an early end, an extra one too much
				}
				wantError(t, err, "error converting docker image to ACI", tc.want)
			})
		}
	}
}

func TestDockerBadManifests(t *testing.T) {
	h := newHub(t, true)
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	for body, want := range map[string]string{
		`{"schemaVersion":2,"mediaType":"` + ociconv.OCIManifest + `","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + "sha256:" + strings.Repeat("0", 64) + `","size":2},"layers":[]}`: "not a container image",
		strings.Repeat(" ", ociconv.MaxManifest+1): "larger than the limit",
		"<html></html>": "parse image manifest",
	} {
		h.set(func(w http.ResponseWriter, req *http.Request) bool {
			if strings.Contains(req.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", ociconv.OCIManifest)
				_, _ = io.WriteString(w, body)
				return true
			}
			return false
		})
		_, err := f.Fetch(t.Context(), h.ref("app"), ImageOptions{})
		wantError(t, err, want)
	}
	h.set(nil)
	_, err := f.Fetch(t.Context(), h.ref("missing"), ImageOptions{})
	wantError(t, err, "Unexpected HTTP code: 404, URL: "+h.URL+"/v2/missing/manifests/latest", "NAME_UNKNOWN")
}

// A layer that breaks is continued, in this fetch or by the next one.
func TestDockerResume(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.None)
	layer := image.layers[0]
	data := image.blobs[layer.Digest]
	var h *hub
	var breaks int
	disturb := func(ranges bool) func(http.ResponseWriter, *http.Request) bool {
		var mu sync.Mutex
		return func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, layer.Digest) || req.Method != http.MethodGet {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			from := 0
			if r := req.Header.Get("Range"); r != "" && ranges {
				if _, err := fmt.Sscanf(r, "bytes=%d-", &from); err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
			if from > 0 {
				w.WriteHeader(http.StatusPartialContent)
			}
			if breaks == 0 {
				_, _ = w.Write(data[from:])
				return true
			}
			breaks--
			_, _ = w.Write(data[from:min(len(data), from+len(data)/10)])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges %v", ranges), func(t *testing.T) {
			h = newHub(t, true)
			h.push(t, "app", "1", image)
			store := newFakeStore(t)
			f, out := fetcher(store)
			f.Insecure.TLS = true
			h.set(disturb(ranges))
			breaks = attempts - 1
			if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "trying again") {
				t.Error("nothing broke")
			}
			// Too often: given up, but what came is used by the next fetch.
			store = newFakeStore(t)
			f.Store = store
			breaks = 100
			_, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{})
			wantError(t, err, "layer "+layer.Digest, "unexpected EOF")
			breaks = 0
			if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if offsets := store.opened[layer.Digest]; len(offsets) != 2 || offsets[1] == 0 {
				t.Errorf("offsets %v", offsets)
			}
		})
	}
}

func TestDockerRetries(t *testing.T) {
	h := newHub(t, true)
	h.push(t, "app", "1", makeImage(t, "x", linuxAMD64, compression.Gzip))
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	var waits []time.Duration
	f.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	codes := []int{429, 503, 500}
	var mu sync.Mutex
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(req.URL.Path, "/manifests/") || len(codes) == 0 {
			return false
		}
		if codes[0] == 429 {
			w.Header().Set("Retry-After", "7")
		}
		w.WriteHeader(codes[0])
		codes = codes[1:]
		return true
	})
	if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(waits) != 3 || waits[0] != 7*time.Second || waits[1] < firstBackOff || waits[2] > 4*firstBackOff {
		t.Errorf("waits %v", waits)
	}
	// Not forever, and not for hours.
	f.Store = newFakeStore(t)
	waits = nil
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/manifests/") {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{})
	wantError(t, err, "Unexpected HTTP code: 503")
	if len(waits) != attempts-1 {
		t.Errorf("%d waits", len(waits))
	}
	if _, again := retryAfter(&http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"9999"}}}, nil, 0); again {
		t.Error("waits for hours")
	}
	for n := range 100 {
		if d := backOff(n); d <= 0 || d > maxBackOff {
			t.Errorf("back-off %d is %v", n, d)
		}
	}
}

// Plain http: registries on this machine, others only if asked for.
func TestPlainHTTP(t *testing.T) {
	g := &registryConn{run: &run{Fetcher: &Fetcher{}}, host: "127.0.0.1:5000"}
	for host, want := range map[string]bool{"127.0.0.1:5000": true, "127.1.2.3": true, "localhost:80": true, "[::1]:5000": true, "10.0.0.1": false, "example.com": false, "localhost.example.com": false} {
		if g.allowHTTP(host) != want {
			t.Errorf("%s from a loopback registry: want %v", host, want)
		}
	}
	g.host = "example.com"
	if g.allowHTTP("127.0.0.1") || g.allowHTTP("example.com") {
		t.Error("a remote registry leads to plain http")
	}
	g.run.Insecure.HTTP = true
	if !g.allowHTTP("example.com") {
		t.Error("--insecure-options=http does not allow http")
	}
}

func TestConcurrencyLimit(t *testing.T) {
	h := newHub(t, false)
	kinds := slices.Repeat([]compression.Type{compression.Gzip}, 8)
	image := makeImage(t, "x", linuxAMD64, kinds...)
	h.push(t, "app", "1", image)
	store := newFakeStore(t)
	f, _ := fetcher(store)
	f.MaxConcurrent = 1
	if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if store.most != 1 {
		t.Errorf("%d layers at once", store.most)
	}
}

// Without --debug nothing on stderr looks like a result.
func TestQuietOutput(t *testing.T) {
	h := newHub(t, false)
	config := `"os":"linux","architecture":"amd64","created":"` + strings.Repeat("0123456789abcdef", 4) + `","config":{"Env":["1` + strings.Repeat("-", 50) + `=x"]},`
	h.push(t, "app", "1", makeImage(t, "x", config, compression.Gzip))
	for _, mode := range []ProgressMode{"auto", "plain", "json", "none"} {
		f, out := fetcher(newFakeStore(t))
		f.Debug, f.Progress = false, mode
		if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
			t.Fatal(err)
		}
		if m := longHex.FindString(out.String()); m != "" {
			t.Errorf("%s: %q in %s", mode, m, out)
		}
		if !strings.Contains(out.String(), "warning: creation date") {
			t.Errorf("no warning in %s", out)
		}
		if got := strings.Contains(out.String(), "sha256:"); got != (mode != "none") {
			t.Errorf("%s: progress %v in %s", mode, got, out)
		}
	}
}

// Who ends a download says why, and that is in the error.
func TestDockerCancelled(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	h := newHub(t, true)
	h.push(t, "app", "1", image)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	h.set(func(_ http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, image.layers[0].Digest) {
			return false
		}
		cancel(errors.New("the terminal is gone"))
		<-req.Context().Done()
		return true
	})
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	_, err := f.Fetch(ctx, h.ref("app:1"), ImageOptions{})
	wantError(t, err, "layer "+image.layers[0].Digest+": the terminal is gone")
}
