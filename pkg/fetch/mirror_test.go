// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/config"
)

// mirrored is a configuration in which example.com has mirrors and a location.
func mirrored(location string, mirrors ...config.Mirror) *config.Config {
	return &config.Config{Registries: map[string]config.Registry{"example.com": {Location: location, Mirrors: mirrors}}}
}

func TestMirrors(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	empty, mirror, main := newHub(t, false), newHub(t, false), newHub(t, false)
	mirror.push(t, "hub/my/app", "1", image)
	main.push(t, "my/app", "1", image)
	main.push(t, "my/app", "2", image)
	f, out := fetcher(newFakeStore(t))
	f.Registries = mirrored(host(main.Server), config.Mirror{Location: host(empty.Server), Pull: config.PullAll},
		config.Mirror{Location: host(mirror.Server) + "/hub", Pull: config.PullTag})
	id, err := f.Fetch(t.Context(), "docker://example.com/my/app:1", ImageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Store.Manifest(id)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := m.Annotations.Get("appc.io/docker/registryurl"); m.Name != "example.com/my/app" || v != "example.com" {
		t.Errorf("the image is %s of %q", m.Name, v)
	}
	if len(empty.seen("GET")) == 0 || len(main.seen("GET")) != 0 {
		t.Error("the mirrors were not asked in their order")
	}
	if !strings.Contains(out.String(), "mirror "+host(empty.Server)) {
		t.Errorf("nothing is said of the mirror that failed: %s", out)
	}
	// What no mirror has comes from the registry.
	if _, err := f.Fetch(t.Context(), "docker://example.com/my/app:2", ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	// By digest, the mirror for tags is not asked.
	mirror.seen("GET")
	if _, err := f.Fetch(t.Context(), "docker://example.com/my/app@"+image.manifest, ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if seen := mirror.seen("GET"); len(seen) != 0 {
		t.Errorf("the mirror was asked: %q", seen)
	}
	// The error names all of them.
	_, err = f.Fetch(t.Context(), "docker://example.com/my/app:3", ImageOptions{})
	for _, h := range []*hub{empty, mirror, main} {
		wantError(t, err, host(h.Server))
	}
}

func TestMirrorWithWrongContent(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	mirror, main := newHub(t, false), newHub(t, false)
	mirror.push(t, "my/app", "1", image)
	main.push(t, "my/app", "1", image)
	layer := image.layers[0].Digest
	mirror.set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, layer) {
			return false
		}
		_, _ = w.Write(make([]byte, image.layers[0].Size))
		return true
	})
	f, _ := fetcher(newFakeStore(t))
	f.Registries = mirrored(host(main.Server), config.Mirror{Location: host(mirror.Server), Pull: config.PullAll})
	if _, err := f.Fetch(t.Context(), "docker://example.com/my/app@"+image.manifest, ImageOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Credentials for the registry never get to its mirrors, nor theirs to it.
func TestMirrorCredentials(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	mirror, main := newHub(t, true), newHub(t, true)
	main.push(t, "my/app", "1", image)
	seen := map[string][]string{}
	for name, h := range map[string]*hub{"mirror": mirror, "main": main} {
		h.set(func(w http.ResponseWriter, req *http.Request) bool {
			user, _, ok := req.BasicAuth()
			if ok {
				seen[name] = append(seen[name], user)
				return false
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
	}
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	f.Registries = mirrored(host(main.Server), config.Mirror{Location: host(mirror.Server), Pull: config.PullAll})
	f.Auth = credentials{docker: map[string]config.Basic{host(main.Server): {User: "m", Password: "p"}, "example.com": {User: "e", Password: "p"}}}
	if _, err := f.Fetch(t.Context(), "docker://example.com/my/app:1", ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(seen["mirror"]) != 0 || len(seen["main"]) == 0 || strings.Trim(strings.Join(seen["main"], ""), "m") != "" {
		t.Errorf("users seen: %v", seen)
	}
}

func TestBlockedRegistry(t *testing.T) {
	f, _ := fetcher(newFakeStore(t))
	f.Registries = &config.Config{Registries: map[string]config.Registry{"example.com": {Blocked: true}}}
	_, err := f.Fetch(t.Context(), "docker://example.com/a", ImageOptions{})
	wantError(t, err, `registry "example.com" is blocked by the configuration`)
}

// A registry that the configuration calls insecure needs no certificate; no
// other registry profits from that.
func TestInsecureRegistry(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	h := newHub(t, true)
	h.push(t, "my/app", "1", image)
	f, _ := fetcher(newFakeStore(t))
	_, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{})
	wantError(t, err, "certificate")
	f.Registries = &config.Config{Registries: map[string]config.Registry{host(h.Server): {Insecure: true}}}
	if _, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	other := newHub(t, true)
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		http.Redirect(w, req, other.URL+req.URL.Path, http.StatusTemporaryRedirect)
		return req.URL.Path != "/v2/"
	})
	_, err = f.Fetch(t.Context(), h.ref("my/app:2"), ImageOptions{})
	wantError(t, err, "certificate")
}

func pemFile(t *testing.T, path, kind string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clientPair writes client.cert and client.key.
func clientPair(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyData, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pemFile(t, filepath.Join(dir, "client.cert"), "CERTIFICATE", cert)
	pemFile(t, filepath.Join(dir, "client.key"), "PRIVATE KEY", keyData)
}

func TestCertificates(t *testing.T) {
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	h := newHub(t, true)
	h.TLS.ClientAuth = tls.RequestClientCert
	h.push(t, "my/app", "1", image)
	shown := 0
	h.set(func(_ http.ResponseWriter, req *http.Request) bool {
		shown += len(req.TLS.PeerCertificates)
		return false
	})
	first, second := t.TempDir(), t.TempDir()
	dir := filepath.Join(second, host(h.Server))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pemFile(t, filepath.Join(dir, "ca.crt"), "CERTIFICATE", h.Certificate().Raw)
	clientPair(t, dir)
	f, _ := fetcher(newFakeStore(t))
	f.CertDirs = []string{first, second}
	if _, err := f.Fetch(t.Context(), h.ref("my/app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if shown == 0 {
		t.Error("the client certificate was not shown")
	}
	// Nobody else gets to see it.
	shown = 0
	other := newHub(t, true)
	_, err := f.Fetch(t.Context(), other.ref("my/app:1"), ImageOptions{})
	wantError(t, err, "certificate")

	for want, change := range map[string]func() error{
		"missing client certificate client.cert for key": func() error { return os.Remove(filepath.Join(dir, "client.cert")) },
		"ca.crt: no certificate found":                   func() error { return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, err := f.Fetch(t.Context(), h.ref("my/app:2"), ImageOptions{})
		wantError(t, err, want)
		if err := os.RemoveAll(filepath.Join(dir, "client.key")); err != nil {
			t.Fatal(err)
		}
	}
}

// The directory of a host is never outside of those of certificates.
func TestCertNames(t *testing.T) {
	for name, want := range map[string]int{"a.b:5000": 1, "registry-1.docker.io": 3, "..": 0, "": 0, "a/b": 0} {
		if got := certNames(name); len(got) != want {
			t.Errorf("certNames(%q) = %q", name, got)
		}
	}
}
