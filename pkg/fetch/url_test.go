// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/lock"
)

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

// A server that compresses on the way, although it must not, is found out.
func TestURLContentEncoding(t *testing.T) {
	s := serve(t, false, []byte("\x1f\x8b compressed twice"))
	s.handle = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Encoding", "gzip")
		return false
	}
	f, _ := fetcher(newFakeStore(t))
	_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
	wantError(t, err, "error downloading ACI", `server sent Content-Encoding "gzip" though identity was asked for`)
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

// Two fetches of one URL download once, also if the second one comes in the
// middle of the first one.
func TestURLConcurrent(t *testing.T) {
	store := newFakeStore(t)
	s := serve(t, false, makeACI(t, imageManifest("example.com/app", ""), 100_000, compression.Gzip))
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.handle = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
		_, _ = w.Write(s.data[:50_000])
		_ = http.NewResponseController(w).Flush()
		once.Do(func() { close(entered); <-release })
		_, _ = w.Write(s.data[50_000:])
		return true
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
