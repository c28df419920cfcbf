// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// newHost is a data directory of the test's own; the test needs root.
func newHost(t *testing.T) *harness.Host {
	t.Helper()
	testenv.NeedsRoot(t)
	return harness.NewHost(t)
}

// plainTar is the uncompressed archive of an image file.
func plainTar(t *testing.T, aci string) []byte {
	t.Helper()
	f, err := os.Open(aci)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// imageID is the ID of an archive.
func imageID(raw []byte) string {
	sum := sha512.Sum512(raw)
	return "sha512-" + hex.EncodeToString(sum[:])[:64]
}

func TestFetchCompressions(t *testing.T) {
	h := newHost(t)
	aci := harness.Busybox(t, nil)
	raw := plainTar(t, aci)
	want := imageID(raw)
	for _, program := range []string{"cat", "gzip", "bzip2", "xz", "zstd"} {
		t.Run(program, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "busybox.aci")
			out, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(testenv.NeedsProgram(t, program))
			cmd.Stdin, cmd.Stdout = bytes.NewReader(raw), out
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			if got := h.Fetch(file); got != want {
				t.Errorf("ID of the image compressed by %s is %s, want %s", program, got, want)
			}
		})
	}
	if short := strings.TrimSpace(h.OK("fetch", aci)); short != want[:len("sha512-")+32] {
		t.Errorf("fetch prints %q, want the ID with 32 digits", short)
	}
	// images.md 3.5: one fetch of a new image makes exactly one tree
	trees, err := os.ReadDir(filepath.Join(h.Dir, "cas", "tree"))
	if err != nil || len(trees) != 1 {
		t.Errorf("%d entries in cas/tree (%v), want 1", len(trees), err)
	}
}

func TestUnsignedIsRefused(t *testing.T) {
	h := newHost(t)
	h.Flags = nil
	aci := harness.Busybox(t, nil)
	h.Fail(254, "--insecure-options=image", "fetch", aci)
	h.Fail(254, "--insecure-options=image", "run", "--net=host", aci)
	addr := harness.NewRegistry(t).Addr
	h.Fail(254, "signature verification for docker images is not supported (try --insecure-options=image)", "fetch", "docker://"+addr+"/x")
}

// aciServer serves one image with ETag, ranges and optional Cache-Control, and
// can break a transfer in the middle.
type aciServer struct {
	*httptest.Server

	mu       sync.Mutex
	breakAt  int
	maxAge   string
	sent     int
	requests []string
}

func newACIServer(t *testing.T, file string) *aciServer {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &aciServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, r.Method+" range="+r.Header.Get("Range")+" match="+r.Header.Get("If-None-Match"))
		w.Header().Set("ETag", `"one"`)
		if s.maxAge != "" {
			w.Header().Set("Cache-Control", "max-age="+s.maxAge)
		}
		cw := &cutter{ResponseWriter: w, left: -1, sent: &s.sent}
		if s.breakAt > 0 {
			cw.left, s.breakAt = s.breakAt, 0
		}
		http.ServeContent(cw, r, "image.aci", harness.Epoch, bytes.NewReader(body))
		if cw.left == 0 {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// cutter ends a response after left bytes; -1 never.
type cutter struct {
	http.ResponseWriter
	left int
	sent *int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left >= 0 && len(p) > c.left {
		p = p[:c.left]
	}
	n, err := c.ResponseWriter.Write(p)
	*c.sent += n
	if c.left >= 0 {
		c.left -= n
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		if c.left == 0 {
			return n, io.ErrClosedPipe
		}
	}
	return n, err
}

func (s *aciServer) reset() (sent int, requests []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, requests = s.sent, s.requests
	s.sent, s.requests = 0, nil
	return sent, requests
}

func TestFetchHTTP(t *testing.T) {
	h := newHost(t)
	aci := harness.ACI(t, harness.Manifest("example.com/web", "1", map[string]any{}), append(harness.TinyEntries(t), harness.File("noise", 0o644, harness.Noise(7, 2<<20))))
	size, err := os.Stat(aci)
	if err != nil {
		t.Fatal(err)
	}
	s := newACIServer(t, aci)
	want := imageID(plainTar(t, aci))
	url := s.URL + "/image.aci"

	s.breakAt = int(size.Size() / 2)
	if first := h.Run("fetch", "--full", url); first.Status == 0 {
		if strings.TrimSpace(first.Stdout) != want { // it may retry by itself
			t.Fatalf("wrong ID: %s", first)
		}
	} else if got := h.Fetch(url); got != want {
		t.Fatalf("ID %s, want %s", got, want)
	}
	sent, requests := s.reset()
	if sent > int(size.Size())+64<<10 {
		t.Errorf("%d bytes sent for an image of %d: a broken download is not resumed (%q)", sent, size.Size(), requests)
	}

	if got := h.Fetch(url); got != want {
		t.Errorf("second fetch: ID %s, want %s", got, want)
	}
	sent, requests = s.reset()
	if sent > 0 || len(requests) == 0 {
		t.Errorf("second fetch got %d bytes in %q, want a revalidation only", sent, requests)
	}
	h.OK("fetch", "--pull-policy=new", url)
	if _, requests = s.reset(); len(requests) != 0 {
		t.Errorf("--pull-policy=new asked the server: %q", requests)
	}

	s.mu.Lock()
	s.maxAge = strconv.Itoa(3600)
	s.mu.Unlock()
	h.OK("fetch", url)
	s.reset()
	h.OK("fetch", url)
	if _, requests = s.reset(); len(requests) != 0 {
		t.Errorf("max-age is not over and yet the server was asked: %q", requests)
	}
	h.OK("image", "rm", want)
	h.Fail(254, "unable to fetch image from URL", "fetch", "--pull-policy=never", url)
	h.Fail(254, "bad HTTP status code: 404", "fetch", newNotFound(t)+"/x.aci")
}

func newNotFound(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL
}

func TestPullPolicies(t *testing.T) {
	h := newHost(t)
	h.Fail(254, "--pull-policy", "fetch", "--pull-policy=sometimes", "example.com/x")
	h.Fail(254, "both --store-only and --no-store specified", "fetch", "--store-only", "--no-store", "example.com/x")
	h.Fail(254, "unable to fetch image from image name", "fetch", "--pull-policy=never", "example.com/x")
	h.Fail(254, "must provide at least one image", "fetch")
	id := h.Fetch(harness.Busybox(t, nil))
	for _, image := range []string{"example.com/busybox", "example.com/busybox:1", id[:20], id} {
		if got := h.Fetch(image, "--pull-policy=never"); got != id {
			t.Errorf("fetch --pull-policy=never %s = %s, want %s", image, got, id)
		}
	}
}
