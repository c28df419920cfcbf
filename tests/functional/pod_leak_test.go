// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// traces is what a pod may leave on the machine outside its directory.
type traces struct {
	mounts, files []string
}

func (p *pods) traces() traces {
	p.t.Helper()
	var tr traces
	for _, line := range strings.Split(harness.Command(p.t, "cat", "/proc/self/mountinfo"), "\n") {
		if f := strings.Fields(line); len(f) > 4 {
			tr.mounts = append(tr.mounts, f[4])
		}
	}
	for _, dir := range []string{"/run/systemd/nspawn", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/locks", "/run/netns", "/run/rkt", "/tmp/.rkt", "/run/host", "/run/systemd/machines", "/var/log/journal", "/dev/shm"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			tr.files = append(tr.files, filepath.Join(dir, e.Name()))
		}
	}
	return tr
}

// TestPodLeavesNothing: after gc the machine is as before, however the pod ended.
func TestPodLeavesNothing(t *testing.T) {
	p := newPods(t)
	p.sh("true")
	p.OK("gc", "--grace-period=0s")
	before := p.traces()
	var uuids []string
	end := func(how func(proc *harness.Proc), flags ...string) {
		proc := p.start(p.shell("echo ready; exec sleep 1000", append(flags, "--memory=64Mi", "--cpu=500m")...)...)
		how(proc)
		proc.Wait()
		uuids = append(uuids, proc.UUID)
	}
	end(func(proc *harness.Proc) { p.OK("stop", proc.UUID) })
	end(func(proc *harness.Proc) { p.OK("stop", "--force", proc.UUID) }, "--hosts-entry=host", "--dns=host")
	end(func(proc *harness.Proc) { proc.Signal(syscall.SIGKILL) }, "--no-overlay", "--volume=v,kind=empty")
	_, uuid := p.runUUID(p.shell("exit 1")...)
	uuids = append(uuids, uuid)
	r, uuid := p.runUUID(p.shell("true", "--user=no-such-user")...)
	if uuids = append(uuids, uuid); r.Status != 254 {
		t.Errorf("%s", r)
	}
	for _, u := range uuids {
		if got := harness.Cgroups([]string{u}); len(got) == 0 && u != uuid {
			t.Errorf("pod %s has no cgroup before gc", u)
		}
	}
	if r := p.Run("gc", "--grace-period=0s"); r.Status != 0 || strings.Contains(r.Stderr, "problem") || strings.Contains(r.Stderr, "failed") {
		t.Errorf("%s", r)
	}
	p.CheckLeaks(uuids)
	for _, u := range uuids {
		p.gone(u)
	}
	after := p.traces()
	if !slices.Equal(before.mounts, after.mounts) {
		t.Errorf("mounts before %v, after %v", before.mounts, after.mounts)
	}
	for _, f := range after.files {
		// other pods may come and go meanwhile; what they make has their names
		if !slices.Contains(before.files, f) && slices.ContainsFunc(uuids, func(u string) bool {
			return strings.Contains(f, u) || strings.Contains(f, strings.ReplaceAll(u, "-", ""))
		}) {
			t.Errorf("left behind: %s", f)
		}
	}
	if left := p.Pods(); len(left) > 0 {
		t.Errorf("pods after gc: %v", left)
	}
}

// TestPodManyStarts: pod after pod ends well and has said what it had to say;
// one of a few hundred that dies silently would be the trap of two journalds.
func TestPodManyStarts(t *testing.T) {
	p := newPods(t)
	count := 30
	if os.Getenv("TORTURE") == "long" {
		count = 500
	}
	began := time.Now()
	for i := range count {
		want := "pod " + strconv.Itoa(i) + "\n"
		r := p.Run(p.shell("echo pod " + strconv.Itoa(i))...)
		if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != want {
			t.Errorf("start %d: %s", i, r)
		}
		if i%50 == 49 {
			p.OK("gc", "--grace-period=0s")
		}
	}
	t.Logf("%s for each of %d", (time.Since(began) / time.Duration(count)).Round(time.Millisecond), count)
}
