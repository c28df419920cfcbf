// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// netInfo is a pod on two networks, one of them IPv6 alone.
const netInfo = `[{"netName":"default","ifName":"eth0","ip":"172.16.28.2","ips":["172.16.28.2/24"],"gateway":"172.16.28.1"},` +
	`{"netName":"six","ifName":"eth1","ip":"","ips":["fd00:28::2/64"],"result":{"ips":[{"address":"fd00:28::2/64","gateway":"fd00:28::1"}]}}]`

// TestWhoMayConnect: by default only pods, each at its own gateway, and a token
// is of use to its own pod only.
func TestWhoMayConnect(t *testing.T) {
	data := t.TempDir()
	podOnDisk(t, data, uuidA)
	podOnDisk(t, data, uuidB) // of the host's network
	if err := os.WriteFile(filepath.Join(data, poddir.Pods, poddir.Run, string(uuidA), poddir.NetInfo), []byte(netInfo), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRegistry()
	tokens := map[poddir.UUID]string{uuidA: "a", uuidB: "b"}
	for uuid, token := range tokens {
		if err := os.WriteFile(filepath.Join(data, poddir.Pods, poddir.Run, string(uuid), poddir.MDSToken), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := load(openPod(t, data, uuid))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.put(g); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	for _, tt := range []struct {
		local, remote string
		connects      bool
		a, b          bool // who may use its token
	}{
		{"172.16.28.1", "172.16.28.2", true, true, false},
		{"fd00:28::1", "fd00:28::2", true, true, false},
		{"127.0.0.1", "127.0.0.1", true, false, true},
		{"::1", "::1", true, false, true},
		{"172.16.28.1", "172.16.28.3", false, false, false}, // not registered
		{"172.16.28.1", "192.0.2.1", false, false, false},   // routed from outside
		{"192.0.2.9", "172.16.28.2", false, true, false},    // another address of the host
		{"172.16.28.1", "fd00:28::2", false, true, false},
		{"0.0.0.0", "0.0.0.0", false, false, false},
	} {
		local, remote := netip.MustParseAddr(tt.local), netip.MustParseAddr(tt.remote)
		if got := r.connects(ctx, local, remote); got != tt.connects {
			t.Errorf("%s to %s: %v", remote, local, got)
		}
		for token, want := range map[string]bool{"a": tt.a, "b": tt.b} {
			if _, err := r.find(ctx, token, remote); (err == nil) != want {
				t.Errorf("token of %s from %s: %v", token, remote, err)
			} else if err != nil && strings.Contains(err.Error(), `"`+token+`"`) {
				t.Errorf("%v names the token", err)
			}
		}
	}
}

// TestFlood: connections that say nothing neither pile up nor lock others out.
func TestFlood(t *testing.T) {
	l := newLimiter()
	flood, other := netip.MustParseAddr("172.16.28.2"), netip.MustParseAddr("172.16.28.3")
	n := 0
	for l.take(flood) {
		n++
	}
	if n != maxConnsEach || !l.take(other) {
		t.Errorf("%d connections of one address", n)
	}
	for range n {
		l.give(flood)
	}
	if l.total != 1 || len(l.each) != 1 {
		t.Errorf("%+v", l)
	}
	for i := range 2 * maxConns {
		l.take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if l.total != maxConns {
		t.Errorf("%d connections in all", l.total)
	}

	s := startService(t, mds.Dir(t.TempDir()), t.TempDir(), nil)
	var silent []net.Conn
	for range maxConnsLoopback + 20 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url(t, ""), "http://"))
		if err != nil {
			break
		}
		silent = append(silent, c)
	}
	c := silent[len(silent)-1]
	_ = c.SetReadDeadline(time.Now().Add(headerTimeout / 2))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("one connection too many is not closed: %v", err)
	}
	for _, c := range silent {
		_ = c.Close()
	}
	for range 500 {
		if resp, err := http.Get(s.url(t, "/x/acMetadata/v1/pod/uuid")); err == nil {
			_ = resp.Body.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no answer after the flood")
}

func TestHeaderIsBounded(t *testing.T) {
	s := startService(t, mds.Dir(t.TempDir()), t.TempDir(), nil)
	for _, path := range []string{"/" + strings.Repeat("x", 1<<20), "/x/acMetadata/v1/pod/uuid?" + strings.Repeat("x", 1<<20)} {
		resp, err := http.Get(s.url(t, path))
		if err != nil {
			continue // closed while we were sending
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
}

func TestRootOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	me := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{me: true, me + 1: false} {
		srv := &http.Server{Handler: http.NotFoundHandler()}
		inner, err := net.FileListener(must(l.(*net.UnixListener).File()))
		if err != nil {
			t.Fatal(err)
		}
		inner.(*net.UnixListener).SetUnlinkOnClose(false)
		go func() { _ = srv.Serve(&rootOnly{inner, uid, newLimiter()}) }()
		resp, err := unixClient(path).Get("http://m/")
		if (err == nil) != want {
			t.Errorf("peer %d where %d is served: %v", me, uid, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
		_ = srv.Close()
	}
	_ = l.Close()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAddressesAndTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	pool := makeCert(t, cert, key)
	files, data := mds.Dir(t.TempDir()), t.TempDir()
	podOnDisk(t, data, uuidA)
	s := startService(t, files, data, func(c *Config) {
		c.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("192.0.2.200")} // the last is not there
		c.CertFile, c.KeyFile = cert, key
	})
	token := s.register(t, uuidA)
	e, err := files.Endpoint()
	if err != nil || !e.TLS {
		t.Fatalf("%+v, %v", e, err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		if got := do(t, client, http.MethodGet, e.URL(netip.MustParseAddr(host), token)+"/acMetadata/v1/pod/uuid", "", ""); got.status != 200 || got.body != string(uuidA) {
			t.Errorf("%s: %+v", host, got)
		}
	}
	if c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.3", strconv.Itoa(int(e.Port))), time.Second); err == nil {
		_ = c.Close()
		t.Error("it listens on an address that was not asked for")
	}
}

func makeCert(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "m"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)}, IsCA: true, BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key))
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	return pool
}

func TestFailsToListen(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = l.Close() }()
	port := portOf(l)
	files := mds.Dir(t.TempDir())
	err := Serve(context.Background(), Config{
		Files: files, DataDir: t.TempDir(), Port: port, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Getenv: os.Getenv, Log: func(string) {},
	})
	if want := "error listening on port " + strconv.Itoa(int(port)); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := os.Lstat(files.Socket()); err == nil {
		t.Error("the socket stays")
	}
	err = Serve(context.Background(), Config{Files: files, DataDir: t.TempDir(), CertFile: "/not/there", KeyFile: "/not/there", Getenv: os.Getenv, Log: func(string) {}})
	if err == nil || !strings.Contains(err.Error(), "TLS certificate") {
		t.Errorf("%v", err)
	}
}

func TestDirList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dirs")
	l := must(openDirs(path, "/own"))
	for _, d := range []string{"/b", "/b", "/own"} {
		if err := l.add(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.add("/a\n/b"); err == nil {
		t.Error("a line feed is taken")
	}
	if got := strings.Join(must(openDirs(path, "/other")).all(), " "); got != "/other /own /b" {
		t.Errorf("%q", got)
	}
	for range maxDirs {
		_ = l.add("/" + strings.Repeat("x", len(l.all())))
	}
	if len(l.all()) != maxDirs {
		t.Errorf("%d directories", len(l.all()))
	}
	if err := os.WriteFile(path, []byte("relative\n\x00\n/cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := must(openDirs(path, "/own")).all(); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
