// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

const webServer = `package main

import (
	"fmt"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", r.Host)
	})
	panic(http.ListenAndServe(":8080", nil))
}
`

const (
	tutorialName  = "localhost/hello"
	tutorialImage = tutorialName + ":1.0.0"
	tutorialPage  = `<html><head>
<meta name="ac-discovery" content="localhost/hello https://localhost/images/{name}-{version}-{os}-{arch}.{ext}">
<meta name="ac-discovery-pubkeys" content="localhost/hello https://localhost/pubkeys.gpg">
</head></html>`
)

// tutorial is a publisher with a directory, a key and a web site.
type tutorial struct {
	*testing.T
	*harness.Lab
	dir, site, gnupg string
}

// TestTutorial is the way from a Go program to a running, verified pod:
// built with acbuild, signed with gpg, found by discovery.
func TestTutorial(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "go")
	testenv.NeedsProgram(t, "gpg")
	l := &tutorial{T: t, Lab: harness.NewLab(t), dir: t.TempDir(), site: t.TempDir()}
	l.Host.Flags = nil
	l.makeKeys()
	l.serve()
	aci := l.buildImage()
	l.publish(aci, "publisher@example.com")

	h := l.Host
	h.Fail(254, "", "fetch", tutorialImage) // nobody is trusted yet
	h.OK("trust", "--prefix="+tutorialName, "--skip-fingerprint-review")
	id := strings.TrimSpace(h.OK("fetch", "--full", tutorialImage))
	if list := h.OK("image", "list", "--fields=name,verified", "--no-legend"); !strings.Contains(list, tutorialImage) {
		t.Errorf("image list: %s", list)
	}
	l.runPod(id)
	l.useImage(id, aci)
	l.refusals(aci)
}

// run runs a program in the publisher's directory.
func (l *tutorial) run(name string, args ...string) string {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), name, args...)
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GNUPGHOME="+l.gnupg, "GOFLAGS=-trimpath")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		l.Fatalf("%s %q: %v\n%s", name, args, err, errs.Bytes())
	}
	return out.String()
}

// makeKeys makes the publisher's key, which the site has, and somebody else's.
func (l *tutorial) makeKeys() {
	home, err := os.MkdirTemp("/tmp", "g") // t.TempDir is too long for sockets
	if err != nil {
		l.Fatal(err)
	}
	l.gnupg = home
	l.Cleanup(func() {
		l.killAgent()
		_ = os.RemoveAll(home)
	})
	for _, user := range []string{"publisher@example.com", "mallory@example.com"} {
		l.run("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign", "never")
	}
	key := l.run("gpg", "--batch", "--armor", "--export", "publisher@example.com")
	writeFile(l.T, filepath.Join(l.site, "pubkeys.gpg"), key)
}

func (l *tutorial) killAgent() {
	out, err := exec.Command("gpgconf", "--homedir", l.gnupg, "--kill", "all").CombinedOutput()
	if err != nil {
		l.Errorf("gpgconf --kill all: %v\n%s", err, out)
	}
}

// serve serves the site at https://localhost on the host of the lab, with a
// certificate that this host accepts.
func (l *tutorial) serve() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		l.Fatal(err)
	}
	roots := filepath.Join(l.dir, "roots.pem")
	writeFile(l.T, roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	l.Host.Env = append(l.Host.Env, "SSL_CERT_FILE="+roots)

	files := http.FileServer(http.Dir(l.site))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery == "ac-discovery=1" {
			_, _ = io.WriteString(w, tutorialPage)
			return
		}
		files.ServeHTTP(w, req)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	_ = s.Listener.Close()
	s.Listener = listenIn(l.T, l.Name, "127.0.0.1:443")
	s.StartTLS()
	l.Cleanup(s.Close)
}

// inNetNS calls fn from a thread in a network namespace; sockets made there
// stay there.
func inNetNS(ns string, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread has left the namespace of the others
		f, err := os.Open(filepath.Join("/run/netns", ns))
		if err == nil {
			err = errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

func listenIn(t *testing.T, ns, address string) (listener net.Listener) {
	t.Helper()
	err := inNetNS(ns, func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// getFrom asks for a page from a network namespace; "" means that there was no answer.
func getFrom(ns, url string) string {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = inNetNS(ns, func() (err error) {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	resp, err := client.Get(url)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// buildImage writes the program and makes an image of it.
func (l *tutorial) buildImage() string {
	writeFile(l.T, filepath.Join(l.dir, "main.go"), webServer)
	writeFile(l.T, filepath.Join(l.dir, "go.mod"), "module hello\n")
	l.run("go", "build", "-o", "hello", ".")
	acbuild := harness.Program(l.T, "ACBUILD_BIN", "acbuild")
	for _, args := range [][]string{
		{"begin"},
		{"set-name", tutorialName},
		{"copy", "hello", "/bin/hello"},
		{"set-exec", "--", "/bin/hello"},
		{"port", "add", "www", "tcp", "8080"},
		{"label", "add", "version", "1.0.0"},
		{"annotation", "add", "authors", "Carly Container <carly@example.com>"},
		{"write", "hello.aci"},
		{"end"},
	} {
		l.run(acbuild, args...)
	}
	aci := filepath.Join(l.dir, "hello.aci")
	l.run(harness.Program(l.T, "ACTOOL_BIN", "actool"), "validate", aci)
	return aci
}

// publish puts an image and the signature by a user's key on the site.
func (l *tutorial) publish(aci, user string) {
	l.Helper()
	target := filepath.Join(l.site, "images", tutorialName+"-1.0.0-linux-"+harness.HostArch()+".aci")
	data, err := os.ReadFile(aci)
	if err != nil {
		l.Fatal(err)
	}
	writeFile(l.T, target, string(data))
	l.run("gpg", "--batch", "--yes", "--armor", "--local-user", user, "--output", target+".asc", "--detach-sig", target)
}

// runPod starts the server and asks it from another host.
func (l *tutorial) runPod(id string) {
	l.Helper()
	p := l.Host.Start("run", tutorialImage, "--port=www:8080")
	answer := ""
	for deadline := time.Now().Add(time.Minute); answer == "" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer = getFrom(l.Client, "http://"+harness.LabHost+":8080/")
	}
	if want := "hello from " + harness.LabHost + ":8080\n"; answer != want {
		l.Errorf("the server answers %q, not %q", answer, want)
	}
	if list := l.Host.OK("list", "--full", "--no-legend"); !strings.Contains(list, id[:19]) {
		l.Errorf("no pod of image %s: %s", id, list)
	}
	p.Signal(syscall.SIGTERM)
	p.Wait()
}

// useImage does with an image what can be done with one.
func (l *tutorial) useImage(id, aci string) {
	l.Helper()
	h := l.Host
	manifest := h.OK("image", "cat-manifest", tutorialImage)
	for _, want := range []string{tutorialName, "\"www\"", "Carly Container"} {
		if !strings.Contains(manifest, want) {
			l.Errorf("no %q in %s", want, manifest)
		}
	}
	exported := filepath.Join(l.dir, "exported.aci")
	h.OK("image", "export", tutorialImage, exported)
	got, err := os.ReadFile(exported)
	if err != nil {
		l.Fatal(err)
	}
	if !bytes.Equal(got, plainTar(l.T, aci)) && !bytes.Equal(plainTar(l.T, exported), plainTar(l.T, aci)) {
		l.Error("the exported image is another one")
	}
	out := filepath.Join(l.dir, "extracted")
	h.OK("image", "extract", tutorialImage, out)
	program, err := os.ReadFile(filepath.Join(out, "rootfs/bin/hello"))
	want, werr := os.ReadFile(filepath.Join(l.dir, "hello"))
	if err != nil || werr != nil || !bytes.Equal(program, want) {
		l.Errorf("the extracted program is another one (%v, %v)", err, werr)
	}
	h.OK("image", "rm", id)
	l.noImage(h)
}

func (l *tutorial) noImage(h *harness.Host) {
	l.Helper()
	if list := h.OK("image", "list", "--fields=name", "--no-legend"); strings.Contains(list, tutorialName) {
		l.Errorf("the image is in the store: %s", list)
	}
}

// refusals are the images that nobody may get.
func (l *tutorial) refusals(aci string) {
	l.Helper()
	h := l.Host
	target := filepath.Join(l.site, "images", tutorialName+"-1.0.0-linux-"+harness.HostArch()+".aci")
	good, err := os.ReadFile(target)
	if err != nil {
		l.Fatal(err)
	}
	// One bit in the header of gzip, which changes nothing of what is inside.
	const gzipTime = 4
	bad := slices.Clone(good)
	bad[gzipTime] ^= 1
	writeFile(l.T, target, string(bad))
	h.Fail(254, "openpgp: invalid signature", "fetch", tutorialImage)
	h.Fail(254, "openpgp: invalid signature", "run", tutorialImage)
	l.noImage(h)

	l.publish(aci, "mallory@example.com")
	h.Fail(254, "openpgp: signature made by unknown entity", "fetch", tutorialImage)
	l.noImage(h)

	l.publish(aci, "publisher@example.com")
	other := harness.NewHost(l.T)
	other.NetNS, other.Flags, other.Env = h.NetNS, nil, h.Env
	for _, prefix := range []string{"localhost/hell", "localhost/hello/more", "localhost/other"} {
		other.OK("trust", "--prefix="+prefix, "--skip-fingerprint-review", filepath.Join(l.site, "pubkeys.gpg"))
	}
	other.Fail(254, "openpgp: signature made by unknown entity", "fetch", tutorialImage)
	l.noImage(other)
	other.OK("trust", "--prefix=localhost", "--skip-fingerprint-review", filepath.Join(l.site, "pubkeys.gpg"))
	other.OK("fetch", tutorialImage)
}
