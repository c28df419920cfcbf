// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/lock"
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
	rand.New(rand.NewSource(1)).Read(content) //nolint:gosec // the same bytes each time
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

func TestURL(t *testing.T) {
	for _, kind := range []compression.Type{compression.None, compression.Gzip, compression.Zstd} {
		t.Run(string(kind), func(t *testing.T) {
			store := newFakeStore(t)
			s := serve(t, false, makeACI(t, imageManifest("example.com/app", ""), 100_000, kind))
			f, out := fetcher(store)
			f.UserAgent = "rkt/2"
			u := s.URL + "/app.aci?x=1"
			id, err := f.Fetch(t.Context(), u, ImageOptions{})
			if err != nil {
				t.Fatal(err)
			}
			h := s.headers[0]
			if h.Get("User-Agent") != "rkt/2" || h.Get("Accept-Encoding") != "identity" {
				t.Errorf("headers %v", h)
			}
			out.has(t, fmt.Sprintf("image: remote fetching from URL %q", u), "image: fetching image from "+u)
			r := store.remotes[u]
			if r.Key != id || r.SigURL != s.URL+"/app.aci.asc?x=1" || store.images[id].latest {
				t.Errorf("remote %+v", r)
			}
			if _, err := f.Fetch(t.Context(), u, ImageOptions{Policy: Never}); err != nil {
				t.Error(err)
			}
			out.has(t, "image: using image from local store for url "+u)
			if n := len(s.seen()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if left := store.leftovers(t); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func TestURLPolicies(t *testing.T) {
	store := newFakeStore(t)
	f, _ := fetcher(store)
	_, err := f.Fetch(t.Context(), "http://127.0.0.1:1/a.aci", ImageOptions{Policy: Never})
	wantError(t, err, `unable to fetch image from URL "http://127.0.0.1:1/a.aci": either image was not found in the store or store was disabled and fetching from remote yielded nothing or it was disabled`)
	_, err = f.Fetch(t.Context(), "http://127.0.0.1:1/a.aci", ImageOptions{})
	wantError(t, err, "error downloading ACI", "connection refused")
	if left := store.leftovers(t); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	_, err = f.Fetch(t.Context(), "http://127.0.0.1:1/a.aci", ImageOptions{Policy: "sometimes"})
	wantError(t, err, `unknown pull policy "sometimes"`)
}

func TestURLCache(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, makeACI(t, imageManifest("example.com/app", ""), 1000, compression.Gzip))
	s.etag, s.cache = `"one"`, "max-age=60"
	u := s.URL + "/a.aci"
	f, out := fetcher(store)
	get := func() Remote {
		t.Helper()
		if _, err := f.Fetch(t.Context(), u, ImageOptions{Policy: Update}); err != nil {
			t.Fatal(err)
		}
		return store.remotes[u]
	}
	first := get()
	if first.ETag != s.etag || first.MaxAge != time.Minute {
		t.Fatalf("remote %+v", first)
	}
	get()
	out.has(t, "image: image for "+u+" isn't expired, not fetching.")
	if n := len(s.seen()); n != 1 {
		t.Fatalf("%d requests", n)
	}
	// Expired: asked with the ETag, and the answer 304 makes it fresh again.
	old := first
	old.Downloaded = time.Now().Add(-time.Hour)
	store.remotes[u] = old
	s.cache = "max-age=120"
	refreshed := get()
	if refreshed.MaxAge != 2*time.Minute || time.Since(refreshed.Downloaded) > time.Minute || store.imports != 1 {
		t.Errorf("remote %+v after %d imports", refreshed, store.imports)
	}
	// A new version replaces the row.
	store.remotes[u] = old
	s.etag, s.cache = `"two"`, "no-store, max-age=5"
	s.data = makeACI(t, imageManifest("example.com/app", `,"labels":[{"name":"version","value":"2"}]`), 1000, compression.Gzip)
	if r := get(); r.ETag != s.etag || r.MaxAge != 0 || r.Key == first.Key {
		t.Errorf("remote %+v", r)
	}
	if left := store.leftovers(t); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestMaxAge(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"max-age=60": time.Minute, "Max-Age=60, public": time.Minute, `max-age="60"`: time.Minute, "max-age=x": 0,
		"max-age=-5": 0, "no-cache, max-age=60": 0, "max-age=60, NO-STORE": 0, "max-age=60, max-age=": 0, "": 0, "s-maxage=60": 0,
	} {
		if got := maxAge(http.Header{"Cache-Control": {in}}); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

func TestURLStatus(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, nil)
	f, _ := fetcher(store)
	for _, code := range []int{401, 404, 500, 202} {
		s.handle = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
		_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
		wantError(t, err, "error downloading ACI", fmt.Sprintf("bad HTTP status code: %d", code))
	}
	s.handle = func(w http.ResponseWriter, req *http.Request) bool {
		http.Redirect(w, req, req.URL.Path, http.StatusFound)
		return true
	}
	_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
	wantError(t, err, "too many redirects")
	if left := store.leftovers(t); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// Nothing is asked for if the image would be refused anyway.
func TestUnsigned(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, makeACI(t, imageManifest("example.com/app", ""), 10, compression.None))
	path := filepath.Join(t.TempDir(), "a.aci")
	if err := os.WriteFile(path, s.data, 0o644); err != nil {
		t.Fatal(err)
	}
	f, _ := fetcher(store)
	f.Insecure.Image = false
	for _, image := range []string{s.URL + "/a.aci", path, "oci:" + t.TempDir(), "oci-archive:" + path, "docker-archive:" + path} {
		_, err := f.Fetch(t.Context(), image, ImageOptions{Signature: "/some/file.asc"})
		wantError(t, err, "--insecure-options=image")
	}
	_, err := f.Fetch(t.Context(), "docker://"+strings.TrimPrefix(s.URL, "http://")+"/a", ImageOptions{Policy: Update})
	wantError(t, err, "signature verification for docker images is not supported (try --insecure-options=image)")
	if n := len(s.seen()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := f.Fetch(t.Context(), path, ImageOptions{Trusted: true}); err != nil {
		t.Error(err)
	}
	f.Insecure.Image = true
	if _, err := f.Fetch(t.Context(), path, ImageOptions{Signature: "/some/file.asc"}); err != nil {
		t.Error(err)
	}
}

// breakAfter makes the next GET stop after n bytes.
func (s *server) breakAfter(n int) {
	var once sync.Once
	s.handle = func(w http.ResponseWriter, req *http.Request) bool {
		broke := false
		if req.Method == http.MethodGet {
			once.Do(func() {
				w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
				_, _ = w.Write(s.data[:n])
				broke = true
			})
		}
		if broke {
			panic(http.ErrAbortHandler)
		}
		return false
	}
}

func TestResume(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", ""), 500_000, compression.Gzip)
	old := time.Now().Add(-time.Hour)
	half := len(data) / 2
	ranged := fmt.Sprintf("GET bytes=%d-", half)
	offset := func(req *http.Request) int {
		n, _ := strconv.Atoi(strings.Trim(req.Header.Get("Range"), "bytes=-"))
		return n
	}
	for name, tc := range map[string]struct {
		etag, modified string
		handle         func(s *server) func(http.ResponseWriter, *http.Request) bool
		requests       string
		message        string
	}{
		"206 by etag":         {etag: `"e"`, requests: "HEAD," + ranged},
		"206 by date":         {modified: old.UTC().Format(http.TimeFormat), requests: "HEAD," + ranged},
		"206 by another zone": {modified: old.Add(-24*time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 ") + "CEST", requests: "HEAD," + ranged},
		"no validator":        {requests: "HEAD,GET", message: "image: cannot use cached partial download, resource updated."},
		"changed since":       {modified: time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), requests: "HEAD,GET", message: "image: cannot use cached partial download, resource updated."},
		"ranges not supported": {
			etag: `"e"`, requests: "HEAD,GET", message: "image: cannot use cached partial download, range request unsupported.",
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Method == http.MethodHead {
						w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
						return true
					}
					return false
				}
			},
		},
		"HEAD refused": {
			etag: `"e"`, requests: "HEAD,GET", message: "image: bad HTTP status code from HEAD request: 405",
			handle: func(*server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Method == http.MethodHead {
						w.WriteHeader(http.StatusMethodNotAllowed)
						return true
					}
					return false
				}
			},
		},
		"416": {
			etag: `"e"`, requests: "HEAD," + ranged + ",GET",
			handle: func(*server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") != "" {
						w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
						return true
					}
					return false
				}
			},
		},
		"200 with the rest": {
			etag: `"e"`, requests: "HEAD," + ranged,
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") == "" {
						return false
					}
					rest := s.data[offset(req):]
					w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
					_, _ = w.Write(rest)
					return true
				}
			},
		},
		"200 with the rest, length unknown": {
			etag: `"e"`, requests: "HEAD," + ranged,
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") == "" {
						return false
					}
					_ = http.NewResponseController(w).Flush() // chunked
					_, _ = w.Write(s.data[offset(req):])
					return true
				}
			},
		},
		"200 with everything": {
			etag: `"e"`, requests: "HEAD," + ranged,
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") == "" {
						return false
					}
					w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
					_, _ = w.Write(s.data)
					return true
				}
			},
		},
		"200 with everything, length unknown": {
			etag: `"e"`, requests: "HEAD," + ranged,
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") == "" {
						return false
					}
					_ = http.NewResponseController(w).Flush()
					_, _ = w.Write(s.data)
					return true
				}
			},
		},
		"206 of something else": {
			etag: `"e"`, requests: "HEAD," + ranged + ",GET",
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") == "" {
						return false
					}
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(s.data)-1, len(s.data)))
					w.WriteHeader(http.StatusPartialContent)
					_, _ = w.Write(s.data)
					return true
				}
			},
		},
		"206 with garbage": {
			etag: `"e"`, requests: "HEAD," + ranged + ",GET", message: "starting over",
			handle: func(s *server) func(http.ResponseWriter, *http.Request) bool {
				return func(w http.ResponseWriter, req *http.Request) bool {
					if req.Header.Get("Range") == "" {
						return false
					}
					n := offset(req)
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", n, len(s.data)-1, len(s.data)))
					w.WriteHeader(http.StatusPartialContent)
					_, _ = w.Write(make([]byte, len(s.data)-n))
					return true
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := newFakeStore(t)
			s := serve(t, false, data)
			s.etag, s.modified = tc.etag, tc.modified
			f, out := fetcher(store)
			u := s.URL + "/a.aci"
			s.breakAfter(half)
			_, err := f.Fetch(t.Context(), u, ImageOptions{})
			wantError(t, err, "error downloading ACI", "unexpected EOF")
			if len(store.leftovers(t)) == 0 {
				t.Fatal("nothing was kept")
			}
			s.seen()
			s.handle = nil
			if tc.handle != nil {
				s.handle = tc.handle(s)
			}
			if _, err := f.Fetch(t.Context(), u, ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.seen(), ","); got != tc.requests {
				t.Errorf("requests %s, want %s", got, tc.requests)
			}
			if !strings.Contains(out.String(), tc.message) {
				t.Errorf("no %q in\n%s", tc.message, out)
			}
			if left := store.leftovers(t); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// A broken archive is not kept for resuming.
func TestURLGarbage(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, []byte("this is no archive"))
	f, _ := fetcher(store)
	_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
	wantError(t, err, "error downloading ACI", "unknown image filetype")
	if left := store.leftovers(t); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestURLTooLarge(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, nil)
	f, _ := fetcher(store)
	for length, want := range map[int64]string{maxArchive + 1: "larger than the limit", maxArchive: "does not fit"} {
		s.handle = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
			_, _ = w.Write([]byte("x"))
			return true
		}
		_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
		wantError(t, err, want)
	}
}

// Two fetches of one URL download once.
func TestURLConcurrent(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, makeACI(t, imageManifest("example.com/app", ""), 1000, compression.Gzip))
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.handle = func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { close(entered); <-release })
		return false
	}
	u := s.URL + "/a.aci"
	f1, _ := fetcher(store)
	f2, out2 := fetcher(store)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := f1.Fetch(t.Context(), u, ImageOptions{Policy: Update}); err != nil {
			t.Error(err)
		}
	})
	<-entered
	wg.Go(func() {
		if _, err := f2.Fetch(t.Context(), u, ImageOptions{Policy: Update}); err != nil {
			t.Error(err)
		}
	})
	waitFor(t, func() bool { return strings.Contains(out2.String(), "waiting...") })
	close(release)
	wg.Wait()
	out2.has(t, "image: another rkt instance is downloading this file, waiting...")
	if n := len(s.seen()); n != 1 || store.imports != 1 {
		t.Errorf("%d requests, %d imports", n, store.imports)
	}
	if left := store.leftovers(t); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// waitFor polls with a deadline, for what other goroutines write to a buffer.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("timed out")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestURLCancelled(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, nil)
	ctx, cancel := context.WithCancel(t.Context())
	s.handle = func(_ http.ResponseWriter, req *http.Request) bool {
		cancel()
		<-req.Context().Done()
		return true
	}
	f, _ := fetcher(store)
	_, err := f.Fetch(ctx, s.URL+"/a.aci", ImageOptions{})
	wantError(t, err, "context canceled")
	if entries, _ := os.ReadDir(store.dir); len(entries) > 0 {
		l, err := lock.TryTake(filepath.Join(store.dir, entries[0].Name()), lock.Exclusive)
		if err != nil {
			t.Error("the partial file is still locked")
		}
		_ = l.Close()
	}
}

// credentials are those of a test.
type credentials struct {
	auth   map[string]config.AuthEntry
	docker map[string]config.Basic
}

func (c credentials) AuthFor(u *url.URL) (config.AuthEntry, bool) {
	e, ok := c.auth[u.Host]
	return e, ok
}

func (c credentials) DockerAuthFor(registry string) (config.Basic, bool) {
	b, ok := c.docker[registry]
	return b, ok
}

func host(s *httptest.Server) string {
	_, h, _ := strings.Cut(s.URL, "://")
	return h
}

// Credentials go to their host over https and do not follow redirects.
func TestCredentials(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", ""), 10, compression.None)
	for name, entry := range map[string]config.AuthEntry{
		"Basic dTpw":      {Type: config.AuthBasic, Basic: config.Basic{User: "u", Password: "p"}},
		"Bearer tok":      {Type: config.AuthOAuth, Token: "tok"},
		"AWS4-HMAC-SHA25": {Type: config.AuthAWS, AWS: config.AWS{AccessKeyID: "a", SecretAccessKey: "s"}},
	} {
		t.Run(name, func(t *testing.T) {
			secure, other, plain := serve(t, true, data), serve(t, true, data), serve(t, false, data)
			f, _ := fetcher(newFakeStore(t))
			f.Insecure.TLS = true
			f.Auth = credentials{auth: map[string]config.AuthEntry{host(secure.Server): entry, host(plain.Server): entry}}
			if _, err := f.Fetch(t.Context(), secure.URL+"/a.aci", ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := secure.headers[0].Get("Authorization"); !strings.HasPrefix(got, name) {
				t.Errorf("Authorization %q", got)
			}
			if _, err := f.Fetch(t.Context(), plain.URL+"/a.aci", ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := plain.headers[0].Get("Authorization"); got != "" {
				t.Errorf("sent over http: %q", got)
			}
			for _, target := range []*server{other, plain} {
				target.headers = nil
				secure.handle = func(w http.ResponseWriter, req *http.Request) bool {
					http.Redirect(w, req, target.URL+req.URL.Path, http.StatusFound)
					return true
				}
				if _, err := f.Fetch(t.Context(), secure.URL+"/b.aci", ImageOptions{Policy: Update}); err != nil {
					t.Fatal(err)
				}
				h := target.headers[0]
				if h.Get("Authorization") != "" || h.Get(awsDateHeader) != "" || h.Get("User-Agent") != "rkt" {
					t.Errorf("headers after a redirect: %v", h)
				}
			}
		})
	}
}

func TestTLS(t *testing.T) {
	s := serve(t, true, makeACI(t, imageManifest("example.com/app", ""), 10, compression.None))
	s.Config.ErrorLog = nil
	f, _ := fetcher(newFakeStore(t))
	_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
	wantError(t, err, "error downloading ACI", "certificate")
}

// The example of Amazon's documentation, "GET Object" with a range.
func TestSignAWS(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-9")
	c := config.AWS{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	signAWS(req, c, time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAWSRegion(t *testing.T) {
	for host, want := range map[string]string{
		"localhost": "us-east-1", "s3.example.com": "us-east-1", "bucket.s3.amazonaws.com": "us-east-1",
		"s3-external-1.amazonaws.com": "us-east-1", "bucket.s3-eu-west-1.amazonaws.com": "eu-west-1",
		"bucket.s3.eu-central-1.amazonaws.com": "eu-central-1", "S3-AP-south-1.amazonaws.com": "ap-south-1", "ec2.x.amazonaws.com": "us-east-1",
	} {
		if got := awsRegion(host); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
