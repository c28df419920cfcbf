// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// web is some hosts, each over https and http.
type web struct {
	tls, plain string // addresses
	down       map[string]bool

	mu    sync.Mutex
	seen  []string // "https://host/path?query"
	auth  []string // Authorization of each
	dials []string
	serve func(w http.ResponseWriter, req *http.Request)
}

// newWeb serves with one function; addresses in down refuse connections.
func newWeb(t *testing.T, serve func(w http.ResponseWriter, req *http.Request), down ...string) *web {
	t.Helper()
	s := &web{down: map[string]bool{}, serve: serve}
	for _, address := range down {
		s.down[address] = true
	}
	handler := func(scheme string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s.mu.Lock()
			s.seen = append(s.seen, scheme+"://"+req.Host+req.RequestURI)
			s.auth = append(s.auth, req.Header.Get("Authorization"))
			s.mu.Unlock()
			s.serve(w, req)
		})
	}
	tls, plain := httptest.NewUnstartedServer(handler("https")), httptest.NewServer(handler("http"))
	tls.EnableHTTP2 = true
	tls.StartTLS()
	t.Cleanup(tls.Close)
	t.Cleanup(plain.Close)
	s.tls, s.plain = tls.Listener.Addr().String(), plain.Listener.Addr().String()
	return s
}

func (s *web) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, address)
	s.mu.Unlock()
	if s.down[address] {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	to := s.tls
	if strings.HasSuffix(address, ":80") {
		to = s.plain
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

func (s *web) finder() *Finder { return &Finder{TLS: true, DialContext: s.dial} }

func (s *web) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := strings.Join(s.seen, "\n")
	s.seen = nil
	return seen
}

// page is a page for one URL path of a host, all others are missing.
func pages(content map[string]string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, req *http.Request) {
		body, ok := content[req.Host+req.URL.Path]
		if !ok {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write([]byte(body))
	}
}

func meta(name, content string) string { return `<meta name="` + name + `" content="` + content + `">` }
