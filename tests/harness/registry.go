// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// FreeAddr is a loopback address with a port nobody listens on now.
func FreeAddr(t T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// DockerRegistry starts Debian's docker-registry on a loopback port and
// returns its address. It ends with the test.
func DockerRegistry(t T) string {
	t.Helper()
	bin := registryProgram(t)
	dir := t.TempDir()
	addr := FreeAddr(t)
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %q}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
	cmd := exec.Command(bin, "serve", config)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	WaitTCP(t, addr)
	return addr
}

// registryProgram is docker-registry, installed or unpacked by "make deps"
// (which does not install it, because that would start a service).
func registryProgram(t T) string {
	t.Helper()
	if p, err := exec.LookPath("docker-registry"); err == nil {
		return p
	}
	p := filepath.Join(CacheDir(t), "docker-registry", "usr", "bin", "docker-registry")
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("docker-registry is missing: get it with \"make deps\"")
	}
	return p
}

// WaitTCP waits until somebody accepts connections.
func WaitTCP(t T, addr string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens on %s: %v", addr, err)
		}
		time.Sleep(10 * time.Millisecond) // there is nothing to wait on but the port itself
	}
}

// Registry is an in-process registry that counts what is downloaded.
type Registry struct {
	Addr string

	mu    sync.Mutex
	bytes int64
	blobs map[string]int // digest → how often it was sent
	// Fault, if set, may answer a request itself; true ends it.
	Fault func(w http.ResponseWriter, r *http.Request) bool
}

// NewRegistry starts an in-process registry. It ends with the test.
func NewRegistry(t T) *Registry {
	t.Helper()
	reg := &Registry{blobs: map[string]int{}}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reg.mu.Lock()
		fault := reg.Fault
		reg.mu.Unlock()
		if fault != nil && fault(w, r) {
			return
		}
		_, digest, isBlob := strings.Cut(r.URL.Path, "/blobs/")
		if isBlob && r.Method == http.MethodGet {
			reg.mu.Lock()
			reg.blobs[digest]++
			reg.mu.Unlock()
			w = &countingWriter{ResponseWriter: w, reg: reg}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	reg.Addr = strings.TrimPrefix(srv.URL, "http://")
	return reg
}

type countingWriter struct {
	http.ResponseWriter
	reg *Registry
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.reg.mu.Lock()
	c.reg.bytes += int64(n)
	c.reg.mu.Unlock()
	return n, err
}

// SetFault replaces Fault while requests may be running.
func (r *Registry) SetFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Fault = f
}

// Reset forgets what was counted.
func (r *Registry) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes, r.blobs = 0, map[string]int{}
}

// Sent is how many bytes of blobs, and how many different blobs, were sent
// since Reset, and how often the most wanted one.
func (r *Registry) Sent() (bytes int64, blobs, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.blobs {
		most = max(most, n)
	}
	return r.bytes, len(r.blobs), most
}

// SentOf is how often the blob with the digest was sent since Reset.
func (r *Registry) SentOf(digest string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blobs[digest]
}

// Push puts an image into the registry at addr under the reference and returns
// the string that rkt fetches it by.
func Push(t T, addr, ref string, img v1.Image) string {
	t.Helper()
	r, err := name.ParseReference(addr+"/"+ref, name.Insecure)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := remote.Write(r, img); err != nil {
		t.Fatalf("push %s: %v", r, err)
	}
	return "docker://" + addr + "/" + ref
}

// SkopeoPush copies a cached OCI layout to a registry with skopeo.
func SkopeoPush(t T, layout, addr, ref string) string {
	t.Helper()
	Command(t, "skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "oci:"+layout+":"+Tag, "docker://"+addr+"/"+ref)
	return "docker://" + addr + "/" + ref
}
