// SPDX-License-Identifier: Apache-2.0

package fetch

import (
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
)

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

// What one user leaves behind does not stop another one of the group: the file
// is replaced, not opened, and has a mode that does not depend on the umask.
func TestETagFileIsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.etag")
	if err := os.WriteFile(path, []byte("old"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := writeShared(path, "new"); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || string(data) != "new" || fi.Mode().Perm() != 0o660 {
		t.Errorf("%q, mode %v, %v", data, fi.Mode(), err)
	}
}
