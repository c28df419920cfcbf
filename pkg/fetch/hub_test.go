// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// ociImage is an image made for a test: documents and blobs by digest.
type ociImage struct {
	blobs    map[string][]byte
	manifest string // digest
	layers   []ociconv.Descriptor
}

func (i *ociImage) put(data []byte) string {
	d := digestOf("sha256", data)
	i.blobs[d] = data
	return d
}

const (
	testOCIConfig = "application/vnd.oci.image.config.v1+json"
	testOCILayer  = "application/vnd.oci.image.layer.v1.tar"
)

// makeImage makes an image with one layer per compression given.
func makeImage(t testing.TB, seed, config string, kinds ...compression.Type) *ociImage {
	t.Helper()
	i := &ociImage{blobs: map[string][]byte{}}
	var diffIDs []string
	for n, kind := range kinds {
		plain := makeLayer(t, fmt.Sprintf("%s-%d", seed, n))
		diffIDs = append(diffIDs, digestOf("sha256", plain))
		var out bytes.Buffer
		z, err := compression.NewWriter(&out, kind)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		mediaType := testOCILayer
		if kind != compression.None {
			mediaType += "+" + string(kind)
		}
		i.layers = append(i.layers, ociconv.Descriptor{MediaType: mediaType, Digest: i.put(out.Bytes()), Size: int64(out.Len())})
	}
	ids, err := json.Marshal(diffIDs)
	if err != nil {
		t.Fatal(err)
	}
	c := []byte(fmt.Sprintf(`{%s"rootfs":{"type":"layers","diff_ids":%s}}`, config, ids))
	i.manifest = i.put(i.manifestFor(t, ociconv.OCIManifest, testOCIConfig, c))
	i.put(c)
	return i
}

func (i *ociImage) manifestFor(t testing.TB, mediaType, configType string, config []byte) []byte {
	t.Helper()
	m := map[string]any{
		"schemaVersion": 2, "mediaType": mediaType,
		"config": map[string]any{"mediaType": configType, "digest": digestOf("sha256", config), "size": len(config)},
	}
	var layers []map[string]any
	for _, l := range i.layers {
		layers = append(layers, map[string]any{"mediaType": l.MediaType, "digest": l.Digest, "size": l.Size})
	}
	m["layers"] = layers
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// makeLayer makes a tar with a file that is large enough to break in the
// middle of it.
func makeLayer(t testing.TB, seed string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	content := []byte(strings.Repeat(seed, 20_000))
	if err := w.WriteHeader(&tar.Header{Name: "file-" + seed, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const linuxAMD64 = `"os":"linux","architecture":"amd64","config":{"Cmd":["/a"]},`

// hub is an in-process registry whose requests can be watched and disturbed.
type hub struct {
	*httptest.Server
	inner http.Handler

	mu       sync.Mutex
	requests []string
	headers  []http.Header
	disturb  func(w http.ResponseWriter, req *http.Request) bool // true: done
}

func newHub(t *testing.T, secure bool) *hub {
	h := &hub{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h.mu.Lock()
		disturb := h.disturb
		h.requests = append(h.requests, req.Method+" "+req.URL.Path)
		h.headers = append(h.headers, req.Header.Clone())
		h.mu.Unlock()
		if disturb == nil || !disturb(w, req) {
			h.inner.ServeHTTP(w, req)
		}
	})
	h.Server = httptest.NewUnstartedServer(handler)
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		h.StartTLS()
	} else {
		h.Start()
	}
	t.Cleanup(h.Close)
	return h
}

func (h *hub) seen(method string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var seen []string
	for _, r := range h.requests {
		if strings.HasPrefix(r, method) {
			seen = append(seen, r)
		}
	}
	h.requests, h.headers = nil, nil
	return seen
}

func (h *hub) set(f func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disturb = f
}

// do speaks to the registry itself, past the disturbance.
func (h *hub) do(t testing.TB, method, path, contentType string, body []byte) {
	t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.inner.ServeHTTP(w, req)
	if w.Code/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

func (h *hub) push(t testing.TB, repo, tag string, i *ociImage) {
	t.Helper()
	for digest, data := range i.blobs {
		if digest != i.manifest {
			h.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest, "application/octet-stream", data)
		}
	}
	h.do(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, ociconv.OCIManifest, i.blobs[i.manifest])
}

func (h *hub) ref(s string) string { return "docker://" + host(h.Server) + "/" + s }

func writeFile(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
