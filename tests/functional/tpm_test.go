// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/pkg/tpm"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestTPMMeasuresPods: what a pod is started from is in the PCR and in the log
// that explains it; without a working TPM the policy decides.
func TestTPMMeasuresPods(t *testing.T) {
	for _, flavor := range harness.Flavors("coreos", "fly") {
		t.Run(flavor, func(t *testing.T) { testTPM(t, flavor) })
	}
}

func testTPM(t *testing.T, flavor string) {
	testenv.NeedsRoot(t)
	h := harness.NewHost(t)
	h.Stage1 = "coreos.com/rkt/stage1-" + flavor
	image := h.Fetch(harness.Busybox(t, nil))
	log := filepath.Join(t.TempDir(), "events")
	place := []string{"--tpm-device=" + harness.TPM(t), "--tpm-log=" + log}
	with := func(more ...string) []string { return append(append(more, place...), "--tpm=require") }

	first := h.Run(sh(image, "echo one", with()...)...)
	copied := h.Run(sh(image, "echo two", with("--no-overlay")...)...)
	prepared := strings.TrimSpace(h.OK("prepare", "--quiet", image, "--exec=/bin/true"))
	third := h.Run(append(append([]string{"run-prepared"}, with()...), prepared)...)
	off := h.Run(sh(image, "echo four", "--tpm=off", place[0], place[1])...)
	for _, r := range []harness.Result{first, copied, third, off} {
		if r.Status != 0 || strings.Contains(r.Stderr, "measured") {
			t.Fatal(r)
		}
	}
	var records []*tpm.Record
	if err := tpm.ReadLog(log, func(r *tpm.Record) error { records = append(records, r); return nil }, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	if len(records) != 3 || records[2].Content.Pod != prepared {
		t.Fatalf("%d records", len(records))
	}
	for _, r := range records {
		c := r.Content
		manifest := strings.TrimSpace(h.OK("cat-manifest", "--pretty-print=false", c.Pod))
		tree, err := os.ReadFile(filepath.Join(h.PodDir(c.Pod), "stage1TreeStoreID"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(c.String, "rkt: Rootfs: "+strings.TrimSpace(string(tree))) || !strings.Contains(c.String, " Manifest: "+manifest+" Stage1 args: ") ||
			!strings.Contains(manifest, image) || !strings.HasSuffix(c.String, c.Pod) {
			t.Errorf("tree %q, measured %s of\n%s", tree, c.String, manifest)
		}
	}
	zero := hex.EncodeToString(make([]byte, 32))
	if out, want := h.OK(append([]string{"tpm", "verify"}, place...)...), "PCR 15: the log explains it, 3 events from "+zero+"\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
	if out := h.OK("tpm", "log", place[1]); strings.Count(out, "\n") != 3 || !strings.Contains(out, " "+prepared+" rkt: Rootfs: ") {
		t.Errorf("log: %s", out)
	}
	if err := os.Truncate(log, 10); err != nil {
		t.Fatal(err)
	}
	h.OK(append([]string{"tpm", "verify"}, place...)...) // an empty log starts from what the PCR is: told, not refused
	h.Fail(254, "1 records make no sense", "tpm", "log", place[1])
	withoutTPM(t, h, image)
}

func withoutTPM(t *testing.T, h *harness.Host, image string) {
	t.Helper()
	log := "--tpm-log=" + filepath.Join(t.TempDir(), "events")
	none := "--tpm-device=" + filepath.Join(t.TempDir(), "none")
	before := len(h.Pods())
	h.Fail(254, "--tpm=require: cannot measure the pod: stat ", sh(image, "echo never", "--tpm=require", none, log)...)
	h.Fail(254, `invalid value "maybe" for --tpm`, sh(image, "echo never", "--tpm=maybe")...)
	h.Fail(254, "invalid value 24 for --tpm-pcr", sh(image, "echo never", "--tpm-pcr=24")...)
	if after := len(h.Pods()); after != before {
		t.Errorf("%d pods were made by refused commands", after-before)
	}
	dir, err := os.MkdirTemp("", "rkt-tpm-") //nolint:usetesting // short: a path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s")) // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	began := time.Now()
	for _, device := range []string{none, fmt.Sprintf("--tpm-device=%s/s", dir)} {
		r := h.Run(sh(image, "echo started", device, log)...)
		if r.Status != 0 || !strings.Contains(r.Stdout+r.Stderr, "started") || !strings.Contains(r.Stderr, "the pod is not measured: ") {
			t.Error(r)
		}
	}
	if took := time.Since(began); took < 2*time.Second || took > 40*time.Second {
		t.Errorf("two pods took %s", took)
	}
}
