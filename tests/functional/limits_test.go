// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

func TestMemoryLimitKills(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	eat := []string{"run", "--net=host", image, "--exec=/bin/dd", "--memory=32Mi", "--", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"}
	if r := h.Run(eat...); r.Signal != syscall.SIGKILL && r.Status != 137 {
		t.Errorf("256 MiB under --memory=32Mi: %s, want death by signal 9", r)
	}
	eat[4] = "--memory=512Mi"
	if r := h.Run(eat...); r.Status != 0 {
		t.Errorf("256 MiB under --memory=512Mi: %s", r)
	}
	h.Fail(254, "memory limit of 100 bytes too low", "run", image, "--memory=100")
}

// TestImageMemoryIsolator: the limit may come from the image, too.
func TestImageMemoryIsolator(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, map[string]any{
		"exec":      []string{"/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"},
		"isolators": []map[string]any{{"name": "resource/memory", "value": map[string]string{"limit": "32Mi"}}},
	}))
	if r := h.Run("run", "--net=host", image); r.Signal != syscall.SIGKILL && r.Status != 137 {
		t.Errorf("%s", r)
	}
}

func TestCPULimitThrottles(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	p := h.StartPod(sh(image, "echo ready; while :; do :; done", "--cpu=100m")[1:]...)
	groups := harness.Cgroups([]string{p.UUID})
	deadline := time.Now().Add(20 * time.Second)
	for throttled(groups) < 3 {
		if time.Now().After(deadline) {
			t.Fatalf("a busy loop under --cpu=100m is not throttled; cgroups %v", groups)
		}
		time.Sleep(50 * time.Millisecond) // the kernel counts periods of 100 ms
	}
	h.OK("stop", "--force", p.UUID)
	p.Wait()
}

// throttled is the largest nr_throttled below the cgroups.
func throttled(groups []string) int {
	most := 0
	for _, g := range groups {
		// the names have backslashes, so no Glob
		_ = filepath.WalkDir(g, func(dir string, _ os.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // cgroups come and go while we walk
			}
			text, _ := os.ReadFile(filepath.Join(dir, "cpu.stat"))
			for line := range strings.Lines(string(text)) {
				if v, ok := strings.CutPrefix(strings.TrimSpace(line), "nr_throttled "); ok {
					n, _ := strconv.Atoi(v)
					most = max(most, n)
				}
			}
			return nil
		})
	}
	return most
}

func TestOtherLimits(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	if out := h.OK(sh(image, "cat /proc/self/oom_score_adj", "--oom-score-adj=123")...); out != "123\n" {
		t.Errorf("--oom-score-adj: %q", out)
	}
	status := func(field string, flags ...string) string {
		t.Helper()
		return strings.TrimSpace(h.OK(sh(image, "grep "+field+": /proc/self/status | cut -f2", flags...)...))
	}
	if got := status("CapBnd", "--caps-retain=CAP_KILL,CAP_CHOWN"); got != "0000000000000021" {
		t.Errorf("bounding set with --caps-retain=CAP_KILL,CAP_CHOWN: %s", got)
	}
	if got := status("CapEff", "--caps-retain=CAP_KILL"); got != "0000000000000020" {
		t.Errorf("effective set with --caps-retain=CAP_KILL: %s", got)
	}
	if got := status("Seccomp", "--seccomp=mode=remove,errno=EACCES,mkdir,mkdirat"); got != "2" {
		t.Errorf("Seccomp: %s, want 2", got)
	}
	r := h.Run(sh(image, "mkdir /tmp/x", "--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat")...)
	if r.Status == 0 || !strings.Contains(r.Stderr, "ross-device") {
		t.Errorf("mkdir under a filter with errno=EXDEV: %s", r)
	}
	if got, plain := status("CapBnd"), status("CapBnd"); got != plain || got == "0000000000000000" {
		t.Errorf("fly restricts without being asked: %s", got)
	}
}

// TestIsolatorsOfImages: images carry limits; what the machine cannot do is a
// warning for an image and an error for a flag (design: one plan, three walls).
func TestIsolatorsOfImages(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, map[string]any{
		"exec": []string{"/bin/echo", "runs"},
		"isolators": []map[string]any{
			{"name": "resource/memory", "value": map[string]string{"request": "16Mi", "limit": "64Mi"}},
			{"name": "resource/cpu", "value": map[string]string{"request": "250m", "limit": "500m"}},
			{"name": "os/linux/no-new-privileges", "value": true},
			{"name": "os/linux/capabilities-remove-set", "value": map[string]any{"set": []string{"CAP_SYS_MODULE"}}},
		},
	}))
	if r := h.Run("run", "--net=host", image); r.Status != 0 || r.Stdout != "runs\n" {
		t.Errorf("%s", r)
	}
	if out := h.OK(sh(image, "grep NoNewPrivs /proc/self/status | cut -f2")...); out != "1\n" {
		t.Errorf("no-new-privileges of the image: %q", out)
	}
}
