// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
)

// signed makes a certificate; a CA signs itself.
func signed(t *testing.T, name string, ca *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := c, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// save writes a certificate and its key.
func save(t *testing.T, c *tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	if err := errors.Join(os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestTLS: with a CA of clients, only clients that it has signed get an answer.
func TestTLS(t *testing.T) {
	ca := signed(t, "ca", nil)
	cert, key := save(t, signed(t, "server", ca))
	clients, _ := save(t, ca)
	c, err := LoadTLS(cert, key, clients)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, Config{TLS: c}, l)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	with := func(certs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: certs, MinVersion: tls.VersionTLS12})
	}
	for name, x := range map[string]struct {
		creds credentials.TransportCredentials
		ok    bool
	}{
		"signed":   {with(*signed(t, "client", ca)), true},
		"none":     {with(), false},
		"stranger": {with(*signed(t, "client", signed(t, "other", nil))), false},
		"clear":    {insecure.NewCredentials(), false},
	} {
		r, err := dial(t, addr, x.creds).GetInfo(limited(t), &v1alpha.GetInfoRequest{})
		if x.ok != (err == nil) || x.ok && r.GetInfo().GetApiVersion() != "test" {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func TestLoadTLS(t *testing.T) {
	cert, key := save(t, signed(t, "server", nil))
	if c, err := LoadTLS("", "", ""); c != nil || err != nil {
		t.Errorf("none: %v, %v", c, err)
	}
	if c, err := LoadTLS(cert, key, ""); err != nil || asksClients(c) {
		t.Errorf("without clients: %v", err)
	}
	for _, bad := range [][3]string{{cert, "", ""}, {"", key, ""}, {"", "", cert}, {key, cert, ""}, {cert, key, key}, {cert, key, cert + "x"}} {
		if _, err := LoadTLS(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestListenTellsWhoCouldRead(t *testing.T) {
	server := &tls.Config{MinVersion: tls.VersionTLS12}
	mutual := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert}
	for _, x := range []struct {
		addr string
		tls  *tls.Config
		ok   bool
	}{
		{"127.0.0.1:0", nil, true},
		{"localhost:0", nil, true},
		{"127.9.9.9:0", nil, true},
		{"0.0.0.0:0", nil, false},
		{":0", nil, false},
		{"[::]:0", nil, false},
		{"0.0.0.0:0", server, false},
		{":0", mutual, true},
		{"0.0.0.0:0", mutual, true},
		{"127.0.0.1", nil, false},
		{"unix://relative", nil, false},
		{"[::ffff:0.0.0.0]:0", nil, false},
	} {
		l, err := Listen(t.Context(), x.addr, x.tls)
		if x.ok != (err == nil) {
			t.Errorf("%s: %v", x.addr, err)
		}
		if err == nil {
			_ = l.Close()
		}
	}
}

// TestUnixSockets: a socket of a service that was killed is replaced, one that
// is used is not, and files that are none stay.
func TestUnixSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "rkt-api-") //nolint:usetesting // short: a path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "new", "s")
	first, err := Listen(t.Context(), "unix://"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := Listen(t.Context(), "unix://"+path, nil); err == nil || !strings.Contains(err.Error(), "another service listens on") {
		t.Errorf("used: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as SIGKILL leaves it
	_ = first.Close()
	second, err := Listen(t.Context(), "unix://"+path, nil)
	if err != nil {
		t.Fatalf("stale: %v", err)
	}
	_ = second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Symlink(path, path+"-link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, path + "-link"} {
		if _, err := Listen(t.Context(), "unix://"+p, nil); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", p, err)
		}
		if _, err := os.Lstat(p); err != nil {
			t.Error(err)
		}
	}
}

// TestActivated runs itself with descriptors as systemd passes them.
func TestActivated(t *testing.T) {
	if os.Getenv("RKT_TEST_ACTIVATED") != "" {
		t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()+len(os.Getenv("RKT_TEST_OTHER_PID"))))
		all, err := Activated(nil)
		fmt.Printf("%d sockets, error %v, left %q\n", len(all), err, os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID"))
		return
	}
	listen := func(addr string) *os.File {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	inside, everywhere := listen("127.0.0.1:0"), listen("0.0.0.0:0")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	for _, x := range []struct {
		files []*os.File
		env   []string
		want  string
	}{
		{[]*os.File{inside, inside}, []string{"LISTEN_FDS=2"}, `2 sockets, error <nil>, left ""`},
		{[]*os.File{inside}, []string{"LISTEN_FDS=1", "RKT_TEST_OTHER_PID=1"}, `0 sockets, error <nil>, left ""`},
		{[]*os.File{inside}, []string{"LISTEN_FDS=x"}, `0 sockets, error <nil>, left ""`},
		{[]*os.File{inside, everywhere}, []string{"LISTEN_FDS=2"}, "refusing to listen on"},
		{[]*os.File{null}, []string{"LISTEN_FDS=1"}, "socket 3 that systemd has passed"},
		{nil, nil, `0 sockets, error <nil>, left ""`},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestActivated$", "-test.v")
		cmd.ExtraFiles = x.files
		cmd.Env = append(append(os.Environ(), "RKT_TEST_ACTIVATED=1"), x.env...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), x.want) {
			t.Errorf("%q: %v\n%s", x.env, err, out)
		}
	}
}
