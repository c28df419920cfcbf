// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// Hosts of the internet of these tests, which has one server.
const (
	webHost      = "web.example.com"
	registryHost = "registry.example.com"
	tokenHost    = "token.example.com"
)

// internet is a web server, a registry and a token server, and the proxy that
// leads to them whatever host is asked for. One thing at a time is bad.
type internet struct {
	aci, signature []byte
	publicKey      []byte
	layer          string // digest of the only layer
	manifest       string // digest
	wantToken      atomic.Bool

	registry http.Handler
	fault    atomic.Pointer[badPart]
	hits     atomic.Int32 // requests for the bad part
	ranges   atomic.Int32 // of them with a range
	proxy    *httptest.Server
	plain    http.Handler // what answers requests in the clear; nil: nobody
	seen     func(req *http.Request)
	roots    string // file with the certificate
}

// badPart is which requests are answered badly, and how.
type badPart struct {
	is    func(req *http.Request) bool
	serve func(w http.ResponseWriter, req *http.Request, good *httptest.ResponseRecorder, n int)
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	n.makeImage(t)
	n.pushImage(t)
	cert := n.certificate(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(n.serve))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	connect := testenv.ConnectTo(s.Listener.Addr().String())
	n.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodConnect && n.plain != nil {
			n.plain.ServeHTTP(w, req)
			return
		}
		connect.ServeHTTP(w, req)
	}))
	t.Cleanup(n.proxy.Close)
	t.Cleanup(s.CloseClientConnections)
	return n
}

func (n *internet) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.com"}, DNSNames: []string{"*.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	n.roots = filepath.Join(t.TempDir(), "roots.pem")
	writeFile(t, n.roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// badName is the name of the image on the web server.
const badName = webHost + "/app"

// makeImage makes a signed ACI that does not compress.
func (n *internet) makeImage(t *testing.T) {
	t.Helper()
	file := harness.ACI(t, harness.Manifest(badName, "1", nil), []harness.Entry{harness.File("noise", 0o644, harness.Noise(1, 300_000))})
	var err error
	if n.aci, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	made := time.Now().Add(-time.Hour)
	entity, err := openpgp.NewEntity("Publisher", "", "publisher@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.publicKey = armored(t, openpgp.PublicKeyType, entity.Serialize)
	n.signature = n.sign(t, entity, n.aci)
}

func (n *internet) sign(t *testing.T, entity *openpgp.Entity, data []byte) []byte {
	t.Helper()
	return armored(t, openpgp.SignatureType, func(w io.Writer) error {
		return openpgp.DetachSign(w, []*openpgp.Entity{entity}, bytes.NewReader(data), nil)
	})
}

func armored(t *testing.T, kind string, write func(io.Writer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pushImage puts an image into the registry, whose layer does not compress.
func (n *internet) pushImage(t *testing.T) {
	t.Helper()
	s := httptest.NewServer(n.registry)
	defer s.Close()
	img := harness.OCIImage(t, harness.OCIOptions{}, []harness.Entry{harness.File("noise", 0o644, harness.Noise(2, 300_000))})
	harness.Push(t, strings.TrimPrefix(s.URL, "http://"), "app:1", img)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	n.layer, n.manifest = layer.String(), manifest.String()
}

func (n *internet) serve(w http.ResponseWriter, req *http.Request) {
	if n.seen != nil {
		n.seen(req)
	}
	f := n.fault.Load()
	if f == nil || !f.is(req) || req.Method == http.MethodHead {
		n.good(w, req)
		return
	}
	hit := int(n.hits.Add(1))
	if req.Header.Get("Range") != "" {
		n.ranges.Add(1)
	}
	whole := req.Clone(req.Context())
	whole.Header.Del("Range")
	good := httptest.NewRecorder()
	n.good(good, whole)
	f.serve(w, req, good, hit)
}

func (n *internet) good(w http.ResponseWriter, req *http.Request) {
	host, _, _ := strings.Cut(req.Host, ":")
	switch host {
	case webHost:
		n.web(w, req)
	case tokenHost:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"token":"good","expires_in":300}`)
	case registryHost:
		if n.wantToken.Load() && req.Header.Get("Authorization") != "Bearer good" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+tokenHost+`/token",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		n.registry.ServeHTTP(w, req)
	}
}

func (n *internet) web(w http.ResponseWriter, req *http.Request) {
	serve := func(data []byte) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
	}
	switch {
	case req.URL.RawQuery == "ac-discovery=1":
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<html><head><meta name="ac-discovery" content="%s https://%s/app.{ext}"></head></html>`, badName, webHost)
	case req.URL.Path == "/app.aci":
		serve(n.aci)
	case req.URL.Path == "/app.aci.asc":
		serve(n.signature)
	default:
		http.NotFound(w, req)
	}
}

// host is a machine on this internet that trusts the publisher, and the digest of
// the registry's image.
func (n *internet) host(t *testing.T) *harness.Host {
	t.Helper()
	h := newHost(t)
	h.Flags = nil
	h.Env = []string{"HTTPS_PROXY=" + n.proxy.URL, "HTTP_PROXY=" + n.proxy.URL, "NO_PROXY=", "SSL_CERT_FILE=" + n.roots}
	key := filepath.Join(t.TempDir(), "key.asc")
	writeFile(t, key, string(n.publicKey))
	h.OK("trust", "--prefix="+badName, "--skip-fingerprint-review", key)
	writeFile(t, filepath.Join(h.LocalConfig(), "trust.d", "app.json"), `{"rktKind":"trustPolicy","rktVersion":"v1","rules":[
		{"scope":"docker://`+registryHost+`/app","requirement":"digest"}]}`)
	return h
}

// answer replays what was good, with another body.
func answer(w http.ResponseWriter, good *httptest.ResponseRecorder, body []byte, length int) {
	for k, v := range good.Header() {
		w.Header()[k] = v
	}
	w.Header().Del("Content-Encoding")
	w.Header().Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(good.Code)
	_, _ = w.Write(body)
	_ = http.NewResponseController(w).Flush()
}

type serveBad = func(w http.ResponseWriter, req *http.Request, good *httptest.ResponseRecorder, n int)

func goodAnswer(w http.ResponseWriter, good *httptest.ResponseRecorder) {
	answer(w, good, good.Body.Bytes(), good.Body.Len())
}

// cutAt is where answers are cut: inside of whatever it is.
func cutAt(good *httptest.ResponseRecorder) int { return good.Body.Len() * 2 / 3 }

// badServes are the columns of the table.
func badServes() map[string]serveBad {
	cut := func(w http.ResponseWriter, good *httptest.ResponseRecorder) {
		answer(w, good, good.Body.Bytes()[:cutAt(good)], good.Body.Len())
		panic(http.ErrAbortHandler)
	}
	busy := func(w http.ResponseWriter, after string) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}
	return map[string]serveBad{
		"stall": func(w http.ResponseWriter, req *http.Request, good *httptest.ResponseRecorder, _ int) {
			answer(w, good, good.Body.Bytes()[:cutAt(good)], good.Body.Len())
			<-req.Context().Done()
		},
		"silence": func(_ http.ResponseWriter, req *http.Request, _ *httptest.ResponseRecorder, _ int) {
			<-req.Context().Done()
		},
		"1 B/s": func(w http.ResponseWriter, req *http.Request, good *httptest.ResponseRecorder, _ int) {
			answer(w, good, nil, good.Body.Len())
			for _, b := range good.Body.Bytes() {
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(time.Second):
				case <-req.Context().Done():
					return
				}
			}
		},
		"reset": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, _ int) { cut(w, good) },
		"reset once": func(w http.ResponseWriter, req *http.Request, good *httptest.ResponseRecorder, n int) {
			if n == 1 {
				cut(w, good)
			}
			if req.Header.Get("Range") != "" { // as the good server answers it
				for k, v := range good.Header() {
					w.Header()[k] = v
				}
				http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(good.Body.Bytes()))
				return
			}
			goodAnswer(w, good)
		},
		"length too long": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, _ int) {
			answer(w, good, good.Body.Bytes(), good.Body.Len()+1000)
		},
		"length too short": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, _ int) {
			answer(w, good, good.Body.Bytes()[:cutAt(good)], cutAt(good))
		},
		"other bytes": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, _ int) {
			body := bytes.Clone(good.Body.Bytes())
			body[len(body)/3] ^= 1
			answer(w, good, body, len(body))
		},
		"redirect loop": func(w http.ResponseWriter, req *http.Request, _ *httptest.ResponseRecorder, _ int) {
			http.Redirect(w, req, "https://"+req.Host+req.URL.String(), http.StatusFound)
		},
		"401 loop": func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder, _ int) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+tokenHost+`/token",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"429":                  func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder, _ int) { busy(w, "") },
		"429 Retry-After 1":    func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder, _ int) { busy(w, "1") },
		"429 Retry-After 9999": func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder, _ int) { busy(w, "9999") },
		"429 once": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, n int) {
			if n == 1 {
				busy(w, "1")
				return
			}
			goodAnswer(w, good)
		},
		"truncated gzip": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, _ int) {
			z := *bytes.NewBuffer(bytes.Clone(good.Body.Bytes()))
			if !bytes.HasPrefix(z.Bytes(), []byte("\x1f\x8b")) {
				z.Reset()
				zw := gzip.NewWriter(&z)
				_, _ = zw.Write(good.Body.Bytes())
				_ = zw.Close()
			}
			half := z.Bytes()[:z.Len()/2]
			answer(w, good, half, len(half))
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder, _ int) {
			body := []byte("<!DOCTYPE html><html><title>Please log in</title></html>\n")
			good.Header().Set("Content-Type", "text/html")
			good.Code = http.StatusOK
			answer(w, good, body, len(body))
		},
	}
}

// badRow is one thing that a server sends.
type badRow struct {
	is     func(n *internet, req *http.Request) bool
	image  func(n *internet) string
	setup  func(n *internet)
	expect map[string]string // by column; ok means that the image comes, again that a second fetch resumes
}

const (
	comes   = "" // the image is fetched
	resumes = "resumes"
)

func on(host string, is func(path string) bool) func(*internet, *http.Request) bool {
	return func(_ *internet, req *http.Request) bool { return req.Host == host && is(req.URL.Path) }
}

// TestBadServers is the table of docs/hostile-servers.md: each thing that a
// server sends, bad in each way. It has one outcome, in bounded time and
// memory, and nothing of the image is left to be seen.
func TestBadServers(t *testing.T) {
	newHost(t) // needs root
	byURL := func(*internet) string { return "https://" + webHost + "/app.aci" }
	byDigest := func(n *internet) string { return "docker://" + registryHost + "/app@" + n.manifest }
	rows := map[string]badRow{
		"ACI": {
			is: on(webHost, func(p string) bool { return p == "/app.aci" }), image: byURL, expect: badACI,
		},
		"signature": {
			is: on(webHost, func(p string) bool { return p == "/app.aci.asc" }), image: byURL, expect: badSignature,
		},
		"discovery page": {
			is:    func(_ *internet, req *http.Request) bool { return req.URL.RawQuery == "ac-discovery=1" },
			image: func(*internet) string { return badName + ":1" }, expect: badDiscovery,
		},
		"manifest": {
			is: on(registryHost, func(p string) bool { return strings.Contains(p, "/manifests/") }), image: byDigest, expect: badManifest,
		},
		"blob": {
			is:    func(n *internet, req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/blobs/"+n.layer) },
			image: byDigest, expect: badBlob,
		},
		"token": {
			is: on(tokenHost, func(string) bool { return true }), image: byDigest, expect: badToken,
			setup: func(n *internet) { n.wantToken.Store(true) },
		},
	}
	for rowName, row := range rows {
		for column, serve := range badServes() {
			want, ok := row.expect[column]
			if !ok {
				t.Errorf("%s, %s: no outcome is said", rowName, column)
				continue
			}
			t.Run(rowName+"/"+column, func(t *testing.T) {
				t.Parallel()
				n := newInternet(t)
				if row.setup != nil {
					row.setup(n)
				}
				n.fault.Store(&badPart{is: func(req *http.Request) bool { return row.is(n, req) }, serve: serve})
				checkBad(t, n, row.image(n), want)
			})
		}
	}
}

const (
	mostMemory = 64 << 20
	mostTime   = 90 * time.Second // five attempts of 4 s each, and pauses, on a machine with other work
)

func checkBad(t *testing.T, n *internet, image, want string) {
	t.Helper()
	h := n.host(t)
	r := h.Run("fetch", "--stall-timeout=4s", image)
	t.Logf("%s, %d MiB, %d requests", r, r.RSS>>20, n.hits.Load())
	if r.RSS > mostMemory {
		t.Errorf("took %d MiB of memory", r.RSS>>20)
	}
	if r.Took > mostTime {
		t.Errorf("took %s", r.Took)
	}
	if n.hits.Load() == 0 {
		t.Error("the bad part was not asked for")
	}
	if want == comes {
		if r.Status != 0 {
			t.Errorf("want success: %s", r)
		}
		h.OK("image", "fsck")
		return
	}
	if want == resumes {
		if r.Status != 254 {
			t.Errorf("want a failure first: %s", r)
		}
		h.OK("fetch", image)
		if n.ranges.Load() == 0 {
			t.Error("the second fetch began from zero")
		}
		h.OK("image", "fsck")
		return
	}
	for one := range strings.SplitSeq(want, "|") {
		if r.Status != 254 || !strings.Contains(r.Stderr, one) {
			t.Errorf("want status 254 and %q: %s", one, r)
		}
	}
	if r.Stdout != "" {
		t.Errorf("an image ID was printed: %s", r)
	}
	if list := h.OK("image", "list", "--no-legend"); list != "" {
		t.Errorf("in the store: %s", list)
	}
	h.OK("image", "fsck")
	h.OK("image", "gc", "--grace-period=0s")
	h.CheckEmpty()
	// The store is as good as before: the same image, from a good server.
	n.fault.Store(nil)
	h.OK("fetch", image)
}
