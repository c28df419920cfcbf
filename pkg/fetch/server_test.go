// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/compression"
)

// makeACI makes an archive of about size bytes that do not compress.
func makeACI(t testing.TB, manifest string, size int, kind compression.Type) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := compression.NewWriter(&out, kind)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	content := make([]byte, size)
	rand.New(rand.NewSource(1)).Read(content) // the same bytes each time
	for _, e := range []struct {
		h    tar.Header
		data []byte
	}{
		{tar.Header{Name: "manifest", Mode: 0o644, Typeflag: tar.TypeReg}, []byte(manifest)},
		{tar.Header{Name: "rootfs/", Mode: 0o755, Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: "rootfs/content", Mode: 0o644, Typeflag: tar.TypeReg}, content},
	} {
		e.h.Size = int64(len(e.data))
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func imageManifest(name, extra string) string {
	return fmt.Sprintf(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":%q%s}`, name, extra)
}

// server serves one archive in many ways.
type server struct {
	*httptest.Server
	data     []byte
	etag     string
	modified string
	cache    string

	mu       sync.Mutex
	requests []string // "METHOD range etag"
	headers  []http.Header
	handle   func(w http.ResponseWriter, req *http.Request) bool // true: done
}

func serve(t *testing.T, tls bool, data []byte) *server {
	s := &server{data: data}
	h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, strings.TrimSpace(req.Method+" "+req.Header.Get("Range")))
		s.headers = append(s.headers, req.Header.Clone())
		handle := s.handle
		s.mu.Unlock()
		if s.etag != "" {
			w.Header().Set("ETag", s.etag)
		}
		if s.modified != "" {
			w.Header().Set("Last-Modified", s.modified)
		}
		if s.cache != "" {
			w.Header().Set("Cache-Control", s.cache)
		}
		if handle != nil && handle(w, req) {
			return
		}
		if s.etag != "" && req.Header.Get("If-None-Match") == s.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(s.data))
	})
	if tls {
		s.Server = httptest.NewTLSServer(h)
	} else {
		s.Server = httptest.NewServer(h)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.requests
	s.requests = nil
	return seen
}
