// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func app(name string, labels ...string) App {
	a := App{Name: appc.Identifier(name)}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		a.Labels = append(a.Labels, appc.Label{Name: appc.Identifier(k), Value: v})
	}
	return a
}

func texts(endpoints []Endpoint) []string {
	var all []string
	for _, e := range endpoints {
		all = append(all, e.ACI.String()+" "+e.ASC.String())
	}
	return all
}

func TestEndpoints(t *testing.T) {
	s := newWeb(t, pages(map[string]string{
		"example.com/": "<html><head>" +
			meta("ac-discovery", "example.com http://old.example.com/{name}-{version}.{ext}") +
			meta("ac-discovery", "example.com https://a.example.com/{os}/{arch}/{name}-{version}.{ext}") +
			meta("ac-discovery", "example.com https://a.example.com/{os}/{arch}/{name}-{version}.{ext}") +
			meta("ac-discovery", "example.org https://not/{ext}") +
			meta("ac-discovery", "example.com/apple https://not/{ext}") +
			meta("ac-discovery", "example.com https://not/{channel}.{ext}") +
			meta("ac-discovery-pubkeys", "example.com https://example.com/keys.gpg") +
			meta("ac-discovery-pubkeys", "example.com/app http://example.com/keys/{name}.gpg") +
			meta("ac-discovery", "example.com/app https://b.example.com/{name}.{ext}"),
	}))
	f := s.finder()
	var failed []string
	f.Failed = func(tag, candidate string, err error) {
		failed = append(failed, fmt.Sprintf("meta tag '%s' not found on %s: %v", tag, candidate, err))
	}
	got, err := f.Endpoints(t.Context(), app("example.com/app/one", "os=linux", "arch=aarch64"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"https://a.example.com/linux/aarch64/example.com/app/one-latest.aci https://a.example.com/linux/aarch64/example.com/app/one-latest.aci.asc",
		"https://b.example.com/example.com/app/one.aci https://b.example.com/example.com/app/one.aci.asc",
		"http://old.example.com/example.com/app/one-latest.aci http://old.example.com/example.com/app/one-latest.aci.asc",
	}
	if d := cmp.Diff(want, texts(got)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		"meta tag 'ac-discovery' not found on example.com/app/one: https://example.com/app/one?ac-discovery=1: expected a 200 OK got 404",
		"meta tag 'ac-discovery' not found on example.com/app: https://example.com/app?ac-discovery=1: expected a 200 OK got 404",
	}, failed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("https://example.com/app/one?ac-discovery=1\nhttps://example.com/app?ac-discovery=1\nhttps://example.com/?ac-discovery=1", s.requests()); d != "" {
		t.Error(d)
	}
	keys, err := f.Keys(t.Context(), "example.com/app")
	if err != nil || fmt.Sprint(keys) != "[https://example.com/keys.gpg http://example.com/keys/%7Bname%7D.gpg]" {
		t.Errorf("%v, %v", keys, err)
	}
	if _, err := f.Keys(t.Context(), "https://example.com"); !errors.Is(err, appc.ErrInvalidCharIdentifier) {
		t.Error(err)
	}
}

// The first page that has something ends the search.
func TestNearest(t *testing.T) {
	s := newWeb(t, pages(map[string]string{
		"example.com/":  meta("ac-discovery", "example.com https://far/{name}.{ext}"),
		"example.com/a": meta("ac-discovery", "example.com https://near/{name}.{ext}"),
	}))
	got, err := s.finder().Endpoints(t.Context(), app("example.com/a/b"))
	if err != nil || len(got) != 1 || got[0].ACI.Host != "near" {
		t.Errorf("%v, %v", texts(got), err)
	}
}

func TestHTTP(t *testing.T) {
	page := pages(map[string]string{"example.com/": meta("ac-discovery", "example.com https://x/{name}.{ext}")})
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request){
		"status": func(w http.ResponseWriter, req *http.Request) {
			if req.TLS != nil {
				http.Error(w, "no", http.StatusServiceUnavailable)
				return
			}
			page(w, req)
		},
		"refused": page,
	} {
		t.Run(name, func(t *testing.T) {
			var down []string
			if name == "refused" {
				down = append(down, "example.com:443")
			}
			s := newWeb(t, serve, down...)
			f := s.finder()
			_, err := f.Endpoints(t.Context(), app("example.com/a"))
			if err == nil || strings.Contains(s.requests(), "http://") {
				t.Fatalf("plain http without being asked: %v", err)
			}
			f.HTTP = true
			f.Authorize = func(req *http.Request) { req.Header.Set("Authorization", "Bearer secret") }
			got, err := f.Endpoints(t.Context(), app("example.com/a"))
			if err != nil || len(got) != 1 {
				t.Fatalf("%v, %v", got, err)
			}
			for i, u := range s.seen {
				if strings.HasPrefix(u, "http:") && s.auth[len(s.auth)-len(s.seen)+i] != "" {
					t.Errorf("credentials sent to %s", u)
				}
			}
		})
	}
	// A host that cannot be reached is not asked for each candidate.
	s := newWeb(t, page, "example.com:443", "example.com:80")
	f := s.finder()
	f.HTTP = true
	_, err := f.Endpoints(t.Context(), app("example.com/a/b/c/d"))
	var failed *Error
	if !errors.As(err, &failed) || len(failed.Failures) != 5 || len(s.dials) != 2 {
		t.Errorf("%v, %v", err, s.dials)
	}
	want := "discovery failed: https://example.com/a/b/c/d?ac-discovery=1: dial tcp: connection refused; " +
		"http://example.com/a/b/c/d?ac-discovery=1: dial tcp: connection refused"
	if err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestAuthorize(t *testing.T) {
	redirect := map[string]string{
		"one.example.com/a":  "https://one.example.com/b",
		"two.example.com/a":  "https://sub.two.example.com/b",
		"port.example.com/a": "https://port.example.com:8443/b",
		"user.example.com/a": "https://u:p@other.example.com/b",
	}
	s := newWeb(t, func(w http.ResponseWriter, req *http.Request) {
		if to, ok := redirect[req.Host+req.URL.Path]; ok {
			http.Redirect(w, req, to, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, meta("ac-discovery", "x https://x/{ext}")+meta("ac-discovery", strings.SplitN(req.Host, "/", 2)[0][:1]+" https://x/{ext}"))
	})
	f := s.finder()
	f.Authorize = func(req *http.Request) { req.Header.Set("Authorization", "Bearer secret") }
	for host, want := range map[string][]string{
		"one.example.com":  {"Bearer secret", "Bearer secret"},
		"two.example.com":  {"Bearer secret", ""},
		"port.example.com": {"Bearer secret", ""},
		"user.example.com": {"Bearer secret", ""},
	} {
		s.mu.Lock()
		s.auth = nil
		s.mu.Unlock()
		_, _ = f.Endpoints(t.Context(), app(host+"/a"))
		s.mu.Lock()
		if got := s.auth[:2]; !cmp.Equal(got, want) {
			t.Errorf("%s: %q", host, got)
		}
		s.mu.Unlock()
	}
}

func TestPort(t *testing.T) {
	s := newWeb(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, meta("ac-discovery", "example.com https://x/{ext}"))
	})
	f := s.finder()
	f.Port = 8443
	if _, err := f.Endpoints(t.Context(), app("example.com/a")); err != nil {
		t.Fatal(err)
	}
	if s.requests() != "https://example.com:8443/a?ac-discovery=1" || s.dials[0] != "example.com:8443" {
		t.Errorf("%v", s.dials)
	}
}

func TestCandidates(t *testing.T) {
	for name, want := range map[string][]string{
		"a":          {"a"},
		"a.b/c/d":    {"a.b/c/d", "a.b/c", "a.b"},
		"a.b//c///d": {"a.b//c///d", "a.b//c", "a.b"},
	} {
		if got := candidatesOf(name); !cmp.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	_, err := (&Finder{}).Endpoints(t.Context(), app("a"+strings.Repeat("/b", maxCandidates)))
	if err == nil || !strings.Contains(err.Error(), "more than 32 components") {
		t.Error(err)
	}
}

// hijack answers with raw bytes, or with nothing, and closes the connection.
func hijack(w http.ResponseWriter, raw string, reset bool) {
	rw := http.NewResponseController(w)
	conn, _, err := rw.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(conn, raw)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func TestHostileServers(t *testing.T) {
	good := meta("ac-discovery", "example.com https://x/{name}.{ext}")
	for name, tc := range map[string]struct {
		serve func(w http.ResponseWriter, req *http.Request)
		err   string // "" : the endpoint is found
	}{
		"wrong type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.WriteString(w, "\x7fELF\x00\xff"+good)
		}, ""},
		"big page, tag first": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, good)
			endless(w)
		}, ""},
		"big page, tag last": {func(w http.ResponseWriter, _ *http.Request) {
			endless(w)
			_, _ = io.WriteString(w, good)
		}, "the page has no such tag"},
		"a million tags": {func(w http.ResponseWriter, _ *http.Request) {
			for range 1_000_000 {
				if _, err := io.WriteString(w, meta("ac-x", "a b")); err != nil {
					return
				}
			}
		}, "the page has no such tag"},
		"empty": {func(http.ResponseWriter, *http.Request) {}, "the page has no such tag"},
		"stall before the answer": {func(_ http.ResponseWriter, req *http.Request) {
			<-req.Context().Done()
		}, "no page within"},
		"stall in the page": {func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.WriteString(w, "<html>")
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		}, "no page within"},
		"broken page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "<html>")
		}, "EOF"},
		"reset": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "INTERNAL_ERROR"},
		"redirect loop": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, req.URL.String()+"x", http.StatusFound)
		}, "too many redirects"},
		"downgrade": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://example.com/x", http.StatusFound)
		}, "redirect from https to http refused"},
		"redirect to a file": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, "redirect to something that is not http or https"},
		"redirect to nothing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, "302"},
		"no content":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "expected a 200 OK got 204"},
		"forbidden":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "expected a 200 OK got 403"},
		"big header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 20*maxHeader))
			_, _ = io.WriteString(w, good)
		}, ""}, // which error it is depends on the protocol
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, tc.serve)
			f := s.finder()
			f.PageTimeout = 300 * time.Millisecond
			if tc.err != "no page within" {
				f.PageTimeout = 20 * time.Second
			}
			got, err := f.Endpoints(t.Context(), app("example.com"))
			switch {
			case name == "big header":
				if err == nil {
					t.Error("accepted")
				}
			case tc.err == "":
				if err != nil || len(got) != 1 {
					t.Errorf("%v, %v", got, err)
				}
			case err == nil || !strings.Contains(err.Error(), tc.err) || strings.ContainsAny(err.Error(), "\n\r"):
				t.Errorf("got %v", err)
			}
		})
	}
	for name, raw := range map[string]string{
		"nothing": "", "no http": "SSH-2.0-x\r\n\n", "escape": "HTTP/1.1 \x1b[31m\r\n\r\n",
	} {
		s := newWeb(t, func(w http.ResponseWriter, _ *http.Request) { hijack(w, raw, name == "nothing") }, "example.com:443")
		f := s.finder()
		f.HTTP = true
		_, err := f.Endpoints(t.Context(), app("example.com"))
		if err == nil || strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func endless(w io.Writer) {
	line := strings.Repeat("<p>", 1000)
	for range 2 * maxPage / len(line) {
		if _, err := io.WriteString(w, line); err != nil {
			return
		}
	}
}

func TestCertificate(t *testing.T) {
	s := newWeb(t, pages(nil))
	f := s.finder()
	f.TLS = false
	_, err := f.Endpoints(t.Context(), app("example.com/a/b"))
	if err == nil || !strings.Contains(err.Error(), "certificate") || s.requests() != "" {
		t.Error(err)
	}
	if len(s.dials) != 1 {
		t.Errorf("%v", s.dials)
	}
}

func TestGivenUp(t *testing.T) {
	s := newWeb(t, func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.finder().Endpoints(ctx, app("example.com/a")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	f := s.finder()
	f.search = 100 * time.Millisecond
	_, err := f.Endpoints(t.Context(), app("example.com/a"))
	var failed *Error
	if !errors.As(err, &failed) || !errors.Is(err, errSearchTimeout) || len(failed.Failures) != 1 {
		t.Error(err)
	}
}
