// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// metadataFiles are what the metadata service keeps below /run/rkt.
const metadataFiles = "/run/rkt/metadata-svc."

// LockMetadata makes this test the only one on the machine that uses the
// metadata service, of which there is one, and removes its files in the end.
func LockMetadata(t T) {
	t.Helper()
	var l net.Listener
	ok := WaitFor(Timeout, func() (got bool) {
		var err error
		l, err = net.Listen("unix", "@rkt-test-metadata-service")
		return err == nil
	})
	if !ok {
		t.Fatalf("another test has the metadata service")
	}
	if c, err := net.Dial("unix", metadataFiles+"sock"); err == nil {
		_ = c.Close()
		_ = l.Close()
		t.Fatalf("a metadata service runs on this machine: stop it first")
	}
	_, err := os.Lstat(filepath.Dir(metadataFiles))
	made := err != nil
	t.Cleanup(func() {
		left, _ := filepath.Glob(metadataFiles + "*")
		for _, f := range left {
			_ = os.Remove(f)
		}
		if made {
			_ = os.Remove(filepath.Dir(metadataFiles))
		}
		_ = l.Close()
	})
}

// StartMetadata starts the metadata service. LockMetadata comes first.
func (h *Host) StartMetadata(args ...string) *Proc {
	h.T.Helper()
	p := h.Start(append([]string{"metadata-service"}, args...)...)
	running := func() bool { return strings.Contains(p.Errors(), "metadata service running...") }
	if !WaitFor(time.Minute, func() bool { return running() || p.Ended() }) || !running() {
		h.T.Fatalf("the metadata service does not run: %s", p.result())
	}
	return p
}

// MetadataPort is the port that the service has recorded.
func MetadataPort(t T) string {
	t.Helper()
	data, err := os.ReadFile(metadataFiles + "port")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return strings.TrimSpace(string(data))
}

// Errors is what the command has printed on its standard error so far.
func (p *Proc) Errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errOut.String()
}
