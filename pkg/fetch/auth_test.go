// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// tokenServer gives tokens to those who know the password, or to all.
type tokenServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	tokens   int
	password string // empty: anybody
	redirect string
}

func newTokenServer(t *testing.T, secure bool) *tokenServer {
	s := &tokenServer{}
	h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = req.ParseForm()
		_, password, _ := req.BasicAuth()
		s.requests = append(s.requests, fmt.Sprintf("%s scope=%s service=%s basic=%s refresh=%s",
			req.Method, req.Form.Get("scope"), req.Form.Get("service"), password, req.Form.Get("refresh_token")))
		if s.redirect != "" {
			http.Redirect(w, req, s.redirect, http.StatusTemporaryRedirect)
			return
		}
		if s.password != "" && s.password != password && s.password != req.Form.Get("refresh_token") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.tokens++
		fmt.Fprintf(w, `{"access_token":"token%d","expires_in":300}`, s.tokens)
	})
	if secure {
		s.Server = httptest.NewTLSServer(h)
	} else {
		s.Server = httptest.NewServer(h)
	}
	t.Cleanup(s.Close)
	return s
}

// protect makes the registry ask for the newest token of s.
func (h *hub) protect(s *tokenServer) {
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tokens > 0 && req.Header.Get("Authorization") == fmt.Sprintf("Bearer token%d", s.tokens) {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer service="reg istry",realm="`+s.URL+`/token",scope="repository:user/image:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

func TestToken(t *testing.T) {
	basic := config.Basic{User: "u", Password: "secret"}
	for name, tc := range map[string]struct {
		secure   bool
		password string // what the token server wants
		err      string
		request  string
	}{
		"anonymous":           {secure: true, request: "GET scope=repository:my/app:pull service=reg istry basic=secret refresh="},
		"password":            {secure: true, password: "secret", request: "GET scope=repository:my/app:pull service=reg istry basic=secret refresh="},
		"wrong password":      {secure: true, password: "other", err: "unable to retrieve auth token: 401 unauthorized"},
		"anonymous http":      {request: "GET scope=repository:my/app:pull service=reg istry basic= refresh="},
		"no password by http": {password: "secret", err: "unable to retrieve auth token: 401 unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newHub(t, tc.secure), newTokenServer(t, tc.secure)
			h.push(t, "my/app", "1", makeImage(t, "x", linuxAMD64, compression.Gzip, compression.Gzip))
			s.password = tc.password
			h.protect(s)
			f, _ := fetcher(newFakeStore(t))
			f.Insecure.TLS = true
			f.Auth = credentials{docker: map[string]config.Basic{host(h.Server): basic}}
			_, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{})
			if tc.err != "" {
				wantError(t, err, tc.err)
				if hint.Of(err) == "" {
					t.Error("no hint")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(s.requests) != 1 || s.requests[0] != tc.request {
				t.Errorf("token requests %q", s.requests)
			}
			for _, header := range h.headers {
				if strings.HasPrefix(header.Get("Authorization"), "Basic") {
					t.Error("the password was sent to the registry")
				}
			}
		})
	}
}

// A token that is not valid any more is replaced.
func TestTokenExpires(t *testing.T) {
	h, s := newHub(t, true), newTokenServer(t, true)
	h.push(t, "my/app", "1", makeImage(t, "x", linuxAMD64, compression.Gzip))
	h.protect(s)
	inner := h.disturb
	var once sync.Once
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			once.Do(func() {
				s.mu.Lock()
				s.tokens++
				s.mu.Unlock()
			})
		}
		return inner(w, req)
	})
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	if _, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(s.requests) != 2 {
		t.Errorf("%d token requests", len(s.requests))
	}
}

// A token server cannot hand the refresh token on.
func TestTokenRedirect(t *testing.T) {
	h, s, thief := newHub(t, true), newTokenServer(t, true), newTokenServer(t, true)
	h.push(t, "my/app", "1", makeImage(t, "x", linuxAMD64, compression.Gzip))
	s.redirect = strings.Replace(thief.URL, "127.0.0.1", "localhost", 1) + "/token"
	h.protect(s)
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	file := writeFile(t, t.TempDir(), "auth.json", fmt.Sprintf(`{"auths":{%q:{"identitytoken":"refresh me"}}}`, host(h.Server)))
	f.Getenv = func(name string) string { return map[string]string{"REGISTRY_AUTH_FILE": file}[name] }
	_, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{})
	wantError(t, err, "token server redirects to localhost:")
	if len(thief.requests) > 0 {
		t.Errorf("the redirect was followed: %q", thief.requests)
	}
	s.redirect, s.password, s.requests = "", "refresh me", nil
	if _, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := "POST scope=repository:my/app:pull service=reg istry basic= refresh=refresh me"; s.requests[0] != want {
		t.Errorf("got %q", s.requests)
	}
}

// A registry outside cannot make us speak to an address inside.
func TestTokenRealm(t *testing.T) {
	transport := &authTransport{g: &registryConn{host: "registry.example.com"}}
	for realm, want := range map[string]string{
		"https://169.254.169.254/": "registry.example.com", "https://127.0.0.1:1/": "registry.example.com", "https://auth.example.com/": "registry.example.com",
	} {
		reg, err := transport.realmRegistry(mustURL(t, realm))
		if err != nil || reg.RegistryStr() != want {
			t.Errorf("%s: %v, %v", realm, reg, err)
		}
	}
	transport.g.host = "10.0.0.1:5000"
	if reg, err := transport.realmRegistry(mustURL(t, "https://169.254.169.254/")); err != nil || reg.RegistryStr() != "10.0.0.1:5000" {
		t.Errorf("link-local: %v, %v", reg, err)
	}
	h := newHub(t, true)
	h.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://169.254.169.254/token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	_, err := f.Fetch(t.Context(), h.ref("a"), ImageOptions{})
	wantError(t, err, "private or link-local")
}

// Blobs may be elsewhere; neither password nor token goes there.
func TestBasicAndBlobRedirect(t *testing.T) {
	h, storage := newHub(t, true), newHub(t, true)
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	for _, x := range []*hub{h, storage} {
		x.push(t, "my/app", "1", image)
	}
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if user, password, _ := req.BasicAuth(); user != "u" || password != "p" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.Contains(req.URL.Path, "/blobs/") {
			http.Redirect(w, req, storage.URL+req.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	_, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{})
	wantError(t, err, "Unexpected HTTP code: 401")
	if !strings.Contains(hint.Of(err), "none were found") {
		t.Errorf("hint %q", hint.Of(err))
	}
	f.Auth = credentials{docker: map[string]config.Basic{host(h.Server): {User: "u", Password: "wrong"}}}
	_, err = f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{})
	wantError(t, err, "Unexpected HTTP code: 401")
	if !strings.Contains(hint.Of(err), "gives no access to my/app") {
		t.Errorf("hint %q", hint.Of(err))
	}
	f.Auth = credentials{docker: map[string]config.Basic{host(h.Server): {User: "u", Password: "p"}}}
	if _, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(storage.headers) != 2 {
		t.Errorf("%d requests to the storage", len(storage.headers))
	}
	for _, header := range storage.headers {
		if header.Get("Authorization") != "" {
			t.Errorf("sent to another host: %v", header)
		}
	}
}

func TestCredentialFiles(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	file := func(entries ...string) string { return `{"auths":{` + strings.Join(entries, ",") + `}}` }
	entry := func(key, userPassword string) string { return fmt.Sprintf(`%q:{"auth":%q}`, key, b64(userPassword)) }
	for name, tc := range map[string]struct {
		files map[string]string // by path below the home directory
		env   map[string]string // $HOME is replaced
		auth  map[string]config.Basic
		host  string
		repo  string
		want  string // user:password or an error
	}{
		"configuration first": {
			auth:  map[string]config.Basic{"h": {User: "c", Password: "d"}},
			files: map[string]string{".docker/config.json": file(entry("h", "a:b"))}, host: "h", want: "c:d",
		},
		"docker":          {files: map[string]string{".docker/config.json": file(entry("h", "a:b:c"))}, host: "h", want: "a:b:c"},
		"DOCKER_CONFIG":   {files: map[string]string{".docker/config.json": file(entry("h", "a:b")), "d/config.json": file(entry("h", "c:d"))}, env: map[string]string{"DOCKER_CONFIG": "$HOME/d"}, host: "h", want: "c:d"},
		"podman":          {files: map[string]string{".docker/config.json": file(entry("h", "a:b")), ".config/containers/auth.json": file(entry("h", "c:d"))}, host: "h", want: "c:d"},
		"runtime":         {files: map[string]string{".config/containers/auth.json": file(entry("h", "c:d")), "run/containers/auth.json": file(entry("h", "e:f"))}, env: map[string]string{"XDG_RUNTIME_DIR": "$HOME/run"}, host: "h", want: "e:f"},
		"explicit":        {files: map[string]string{"x": file(entry("h", "e:f")), ".docker/config.json": file(entry("h", "a:b"))}, env: map[string]string{"REGISTRY_AUTH_FILE": "$HOME/x"}, host: "h", want: "e:f"},
		"next file":       {files: map[string]string{".config/containers/auth.json": file(entry("other", "c:d")), ".docker/config.json": file(entry("h", "a:b"))}, host: "h", want: "a:b"},
		"longest path":    {files: map[string]string{".docker/config.json": file(entry("h", "a:b"), entry("h/x/y", "c:d"), entry("h/x", "e:f"))}, host: "h", repo: "x/y/z", want: "c:d"},
		"whole component": {files: map[string]string{".docker/config.json": file(entry("h/x", "e:f"))}, host: "h", repo: "xy", want: ":"},
		"other host":      {files: map[string]string{".docker/config.json": file(entry("h", "e:f"))}, host: "h:5000", want: ":"},
		"hub":             {files: map[string]string{".docker/config.json": file(entry("https://index.docker.io/v1/", "e:f"))}, host: distribution.Hub, want: "e:f"},
		"hub alias":       {files: map[string]string{".docker/config.json": file(entry("docker.io", "e:f"))}, host: distribution.Hub, want: "e:f"},
		"URL":             {files: map[string]string{".docker/config.json": file(entry("https://h/v2/", "e:f"))}, host: "h", want: "e:f"},
		"empty file":      {files: map[string]string{".docker/config.json": ""}, host: "h", want: ":"},
		"not JSON":        {files: map[string]string{".docker/config.json": "{"}, host: "h", want: "parse"},
		"not base64":      {files: map[string]string{".docker/config.json": `{"auths":{"h":{"auth":"%%"}}}`}, host: "h", want: "not base64"},
		"no colon":        {files: map[string]string{".docker/config.json": file(entry("h", "ab"))}, host: "h", want: "not base64 of user:password"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			for path, content := range tc.files {
				writeFile(t, home, path, content)
			}
			f, _ := fetcher(nil)
			f.Auth = credentials{docker: tc.auth}
			f.Getenv = func(name string) string {
				if name == "HOME" {
					return home
				}
				return strings.ReplaceAll(tc.env[name], "$HOME", home)
			}
			got, err := (&run{Fetcher: f}).registryCredentials(t.Context(), tc.host, tc.repo)
			if text := got.Username + ":" + got.Password; err == nil && text != tc.want {
				t.Errorf("got %q, want %q", text, tc.want)
			}
			if err != nil {
				wantError(t, err, tc.want)
			}
		})
	}
}

func TestCredentialHelpers(t *testing.T) {
	bin := t.TempDir()
	writeFile(t, bin, "docker-credential-good", "#!/bin/sh\nread s; echo '{\"ServerURL\":\"'$s'\",\"Username\":\"u\",\"Secret\":\"for '$s' '$1'\"}'\n")
	writeFile(t, bin, "docker-credential-token", "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'\n")
	writeFile(t, bin, "docker-credential-none", "#!/bin/sh\necho credentials not found in native keychain; exit 1\n")
	writeFile(t, bin, "docker-credential-bad", "#!/bin/sh\necho topsecret; echo topsecret >&2; exit 1\n")
	writeFile(t, bin, "docker-credential-junk", "#!/bin/sh\necho topsecret\n")
	writeFile(t, bin, "docker-credential-flood", "#!/bin/sh\nexec cat /dev/zero\n")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, tc := range map[string]struct {
		file string
		want authn.AuthConfig
		err  string
	}{
		"by host":        {file: `{"credHelpers":{"h":"good"},"credsStore":"bad"}`, want: authn.AuthConfig{Username: "u", Password: "for h get"}},
		"for all":        {file: `{"credHelpers":{"x":"bad"},"credsStore":"good","auths":{"h":{}}}`, want: authn.AuthConfig{Username: "u", Password: "for h get"}},
		"token":          {file: `{"credsStore":"token"}`, want: authn.AuthConfig{IdentityToken: "refresh"}},
		"nothing":        {file: `{"credsStore":"none"}`},
		"failure":        {file: `{"credsStore":"bad"}`, err: "credential helper docker-credential-bad: exit status 1"},
		"no JSON":        {file: `{"credsStore":"junk"}`, err: "its answer is not JSON"},
		"endless":        {file: `{"credsStore":"flood"}`, err: "credential helper docker-credential-flood"},
		"missing":        {file: `{"credsStore":"missing"}`, err: "executable file not found"},
		"path":           {file: `{"credsStore":"../../bin/x"}`, err: "invalid credential helper name"},
		"shell":          {file: `{"credsStore":"x;y"}`, err: "invalid credential helper name"},
		"entry has auth": {file: `{"credsStore":"bad","auths":{"h":{"auth":"YTpi"}}}`, want: authn.AuthConfig{Username: "a", Password: "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, t.TempDir(), "config.json", tc.file)
			f, _ := fetcher(nil)
			f.Getenv = func(name string) string { return map[string]string{"DOCKER_CONFIG": filepath.Dir(path)}[name] }
			got, err := (&run{Fetcher: f}).registryCredentials(t.Context(), "h", "a/b")
			if tc.err != "" {
				wantError(t, err, tc.err)
				if strings.Contains(err.Error(), "topsecret") {
					t.Errorf("the helper's output is in %q", err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for _, tc := range []struct {
		euid, uid int
		owner     uint32
		want      bool
	}{{0, 0, 0, true}, {0, 0, 1000, false}, {0, 1000, 1000, false}, {1000, 1000, 1000, true}, {1000, 1000, 0, true}} {
		if helperAllowed(tc.euid, tc.uid, tc.owner) != tc.want {
			t.Errorf("%+v", tc)
		}
	}
}

func TestHelperCancelled(t *testing.T) {
	bin := t.TempDir()
	writeFile(t, bin, "docker-credential-slow", "#!/bin/sh\nexec sleep 60\n")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runHelper(ctx, "docker-credential-slow", "h"); err == nil {
		t.Error("a cancelled helper succeeded")
	}
}

func FuzzAuthFile(f *testing.F) {
	f.Add("https://index.docker.io/v1/", "registry-1.docker.io", "library/a")
	f.Add("h/x", "h", "x/y")
	f.Fuzz(func(t *testing.T, key, host, repo string) {
		a := &authFile{Auths: map[string]authEntry{key: {Auth: "YTpi"}}}
		found := a.longestKey(host, repo)
		if found == "" {
			return
		}
		// What was found names the host itself, not something that begins like it.
		n := normalizeKey(found)
		first, _, _ := strings.Cut(n, "/")
		wanted, _, _ := strings.Cut(host+"/"+repo, "/")
		if first != wanted {
			t.Errorf("%q was used for %q", key, host)
		}
	})
}
