// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociarchive"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// archived is an image made for a test as it is pushed.
func archived(t testing.TB, i *ociImage) *ociarchive.Image {
	t.Helper()
	m, err := ociconv.ParseManifest(i.blobs[i.manifest], ociconv.OCIManifest)
	if err != nil {
		t.Fatal(err)
	}
	image := &ociarchive.Image{
		Manifest: ociarchive.Bytes(ociconv.OCIManifest, i.blobs[i.manifest]),
		Config:   ociarchive.Bytes(m.Config.MediaType, i.blobs[m.Config.Digest]),
	}
	for _, l := range m.LayerBlobs {
		image.Layers = append(image.Layers, ociarchive.Bytes(l.MediaType, i.blobs[l.Digest]))
	}
	return image
}

func mustReference(t testing.TB, text string) distribution.Docker {
	t.Helper()
	ref, err := distribution.ParseReference(strings.TrimPrefix(text, "docker://"))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestPush(t *testing.T) {
	for _, secure := range []bool{true, false} {
		h := newHub(t, secure)
		image := makeImage(t, "x", linuxAMD64, compression.Gzip, compression.Zstd, compression.None)
		f, _ := fetcher(newFakeStore(t))
		f.Insecure.TLS = true
		ref := mustReference(t, h.ref("my/app:1"))
		for range 2 {
			h.seen("")
			if err := f.Push(t.Context(), archived(t, image), ref); err != nil {
				t.Fatal(err)
			}
		}
		// The second time nothing but the manifest goes there.
		if puts := h.seen("PUT"); len(puts) != 1 || puts[0] != "PUT /v2/my/app/manifests/1" {
			t.Errorf("%v", puts)
		}
		id, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{})
		if err != nil || f.Store.(*fakeStore).images[id].oci.ManifestDigest != image.manifest {
			t.Error(err)
		}
	}
}

// TestPushBreaks: what broke goes on, what was sent is not sent again.
func TestPushBreaks(t *testing.T) {
	h := newHub(t, true)
	image := makeImage(t, "x", linuxAMD64, compression.Gzip, compression.None)
	var n atomic.Int32
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || n.Add(1)%2 == 0 {
			return false
		}
		_, _ = io.CopyN(io.Discard, req.Body, 10)
		if n.Load() == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	ref := mustReference(t, h.ref("app:1"))
	if err := f.Push(t.Context(), archived(t, image), ref); err != nil {
		t.Fatal(err)
	}
	h.seen("")
	if err := f.Push(t.Context(), archived(t, image), ref); err != nil {
		t.Fatal(err)
	}
	if posts := h.seen("POST"); len(posts) > 0 {
		t.Errorf("sent again: %v", posts)
	}
}

func TestPushFaults(t *testing.T) {
	h := newHub(t, true)
	image := archived(t, makeImage(t, "x", linuxAMD64, compression.Gzip))
	f, _ := fetcher(newFakeStore(t))
	push := func(i *ociarchive.Image) error { return f.Push(t.Context(), i, mustReference(t, h.ref("app:1"))) }
	wantError(t, push(image), "certificate")
	f.Insecure.TLS = true
	broken := *image
	broken.Layers = []ociarchive.Blob{image.Layers[0]}
	fault := errors.New("disk fault")
	broken.Layers[0].Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 10)), readerFunc(func([]byte) (int, error) { return 0, fault }))), nil
	}
	if err := push(&broken); !errors.Is(err, fault) {
		t.Errorf("%v", err)
	}
	broken.Layers[0].Open = func() (io.ReadCloser, error) { return nil, fault }
	if err := push(&broken); !errors.Is(err, fault) {
		t.Errorf("%v", err)
	}
	for name, disturb := range map[string]func(w http.ResponseWriter, req *http.Request) bool{
		"does not say where": func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPost {
				w.WriteHeader(http.StatusAccepted)
			}
			return req.Method == http.MethodPost
		},
		"plain http is not allowed": func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPost {
				w.Header().Set("Location", "http://192.0.2.1/upload")
				w.WriteHeader(http.StatusAccepted)
			}
			return req.Method == http.MethodPost
		},
		"403": func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPost {
				w.WriteHeader(http.StatusForbidden)
			}
			return req.Method == http.MethodPost
		},
		"digest does not match": func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPut {
				_, _ = io.Copy(io.Discard, req.Body)
				w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
				w.WriteHeader(http.StatusCreated)
			}
			return req.Method == http.MethodPut
		},
	} {
		h.set(disturb)
		wantError(t, push(image), name)
	}
}

// TestPushCredentials: they are shown to the registry and its token server, and
// not to where the registry has uploads go.
func TestPushCredentials(t *testing.T) {
	h, s := newHub(t, true), newTokenServer(t, true)
	s.password = "secret"
	h.protect(s)
	guarded := h.disturb
	var leaked atomic.Bool
	var uploads atomic.Int32
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		data, err := io.ReadAll(req.Body)
		if err != nil || digestOf("sha256", data) != req.URL.Query().Get("digest") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		uploads.Add(1)
		h.do(t, http.MethodPost, "/v2/app/blobs/uploads/?digest="+req.URL.Query().Get("digest"), "application/octet-stream", data)
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(elsewhere.Close)
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if guarded(w, req) {
			return true
		}
		if req.Method != http.MethodPost {
			return false
		}
		w.Header().Set("Location", elsewhere.URL+"/upload?state=x")
		w.WriteHeader(http.StatusAccepted)
		return true
	})
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	f.Auth = credentials{docker: map[string]config.Basic{host(h.Server): {User: "u", Password: "secret"}}}
	image := archived(t, makeImage(t, "x", linuxAMD64, compression.Gzip))
	if err := f.Push(t.Context(), image, mustReference(t, h.ref("app:1"))); err != nil {
		t.Fatal(err)
	}
	if leaked.Load() || uploads.Load() != 2 {
		t.Errorf("leaked %v, %d uploads", leaked.Load(), uploads.Load())
	}
	if len(s.requests) == 0 || !strings.Contains(s.requests[0], "scope=repository:app:pull,push ") {
		t.Errorf("%v", s.requests)
	}
}
