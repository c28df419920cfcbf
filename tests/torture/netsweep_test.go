// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/harness"
)

// gone runs a pod with a forwarded port that is killed, and removes its directory.
func (n *netPods) gone(port int) (uuid string) {
	n.t.Helper()
	proc := n.serving(port)
	proc.Killed()
	n.ended(proc.UUID, "SIGKILL")
	n.removeDir(proc.UUID)
	return proc.UUID
}

// stopped ends a pod and wants it to end well.
func (n *netPods) stopped(proc *harness.Proc) {
	n.t.Helper()
	n.OK("stop", proc.UUID)
	if r := proc.Wait(); r.Status != 0 || r.Signal != 0 {
		n.t.Errorf("%s", r)
	}
	n.ended(proc.UUID, "stop")
}

// TestSweep has gc find what pods have left whose directories somebody has
// removed, also where the record of that is damaged, and wants it to leave the
// running pods alone.
func TestSweep(t *testing.T) {
	const first, second, third, again = 8020, 8021, 8022, 8023
	n := newNetPods(t, false)
	one := n.serving(first)
	gone, damaged := n.gone(second), n.gone(third)
	two := n.serving(again)
	record := filepath.Join(n.Dir, "net", "pods", damaged)
	if err := os.Truncate(record, 100); err != nil {
		t.Fatal(err)
	}
	before := map[string][]string{}
	for _, proc := range []*harness.Proc{one, two} {
		before[proc.UUID] = n.traces(proc.UUID)
	}
	r := n.Run("gc", "--grace-period=0s")
	if r.Status != 0 || strings.Count(r.Stderr, "sweeping the networks of pod") != 2 || strings.Contains(r.Stderr, "problem") {
		t.Errorf("%s", r)
	}
	for _, uuid := range []string{gone, damaged} {
		if left := n.traces(uuid); len(left) > 0 {
			t.Errorf("gc leaves %q: %s", left, r)
		}
	}
	for uuid, traces := range before {
		if now := n.traces(uuid); !slices.Equal(now, traces) {
			t.Errorf("a running pod has now %q, before %q", now, traces)
		}
		n.networked("running", uuid)
	}
	for _, port := range []int{first, again} {
		if !n.answers(port) {
			t.Errorf("the running pod at port %d does not answer", port)
		}
	}
	if r := n.Run("gc", "--grace-period=0s"); r.Status != 0 || len(errorLines(r)) > 0 {
		t.Errorf("nothing is left to sweep: %s", r)
	}
	n.stopped(one)
	n.stopped(two)
	n.swept("stop", one.UUID, two.UUID)
	n.works("a sweep", second)
}

// TestSweepDuringSetUp sets pods up while gc runs again and again. None is taken
// for one that is gone.
func TestSweepDuringSetUp(t *testing.T) {
	n := newNetPods(t, false)
	n.gone(8024) // and later some more: there is always something to sweep
	over := make(chan struct{})
	end := sync.OnceFunc(func() { close(over) })
	defer end()
	results := make(chan harness.Result, 10000)
	go func() {
		defer close(results)
		for {
			select {
			case <-over:
				return
			default:
				results <- n.Run("gc") // with a grace period: pods stay
			}
		}
	}()
	for i := range pick(30, 300) {
		r := n.Run(n.run(8025, script)...)
		whole(n.pods, r, "gc")
		if r.Status != 0 {
			t.Errorf("pod %d: %s", i, r)
		}
		for _, uuid := range n.Pods() {
			n.kept("ended a moment ago", uuid)
			if i%5 == 0 {
				n.removeDir(uuid)
			} else {
				// gc may have the pod in hand, which rm takes for running.
				harness.WaitFor(moment, func() bool { return n.Run("rm", uuid).Status == 0 })
			}
		}
	}
	end()
	runs := 0
	for r := range results {
		runs++
		if r.Status != 0 || strings.Contains(r.Stderr, "problem") {
			t.Errorf("%s", r)
		}
	}
	t.Logf("gc ran %d times", runs)
	for range 2 {
		n.OK("gc", "--grace-period=0s")
	}
	n.bare("all pods")
}

// TestReboot has gc find pods as they are after the machine has started again:
// their directories and leases are there, nothing in the kernel is.
func TestReboot(t *testing.T) {
	const first, second = 8030, 8031
	n := newNetPods(t, false)
	one, two := n.serving(first), n.serving(second)
	for _, proc := range []*harness.Proc{one, two} {
		proc.Killed()
		n.ended(proc.UUID, "SIGKILL")
		pin := "/run/netns/cni-" + proc.UUID
		if err := errors.Join(unix.Unmount(pin, unix.MNT_DETACH), os.Remove(pin)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := n.lab.In(n.lab.Name, "nft", "flush", "ruleset"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !harness.WaitFor(moment, func() bool { return slices.Equal(n.lab.Links(), n.links) }) {
		t.Fatalf("the interfaces stay: %v", n.lab.Links())
	}
	for _, proc := range []*harness.Proc{one, two} {
		if left := n.traces(proc.UUID); !slices.ContainsFunc(left, func(s string) bool { return strings.HasPrefix(s, "lease ") }) {
			t.Fatalf("no lease among %q", left)
		}
	}
	n.removeDir(two.UUID) // swept then
	if r := n.Run("gc", "--grace-period=0s"); r.Status != 0 || strings.Contains(r.Stderr, "problem") {
		t.Errorf("%s", r)
	}
	n.swept("a reboot", one.UUID, two.UUID)
	n.works("a reboot", first)
}

// TestSweepWithoutStage1 has no stage1 left to sweep with: gc says so and what
// to do, and does that later.
func TestSweepWithoutStage1(t *testing.T) {
	const port = 8032
	n := newNetPods(t, false)
	uuid := n.gone(port)
	n.OK("image", "gc", "--grace-period=0s")
	if trees, _ := filepath.Glob(filepath.Join(n.Dir, "cas", "tree", "*")); len(trees) > 0 {
		t.Fatalf("image gc leaves %v", trees)
	}
	r := n.Run("gc", "--grace-period=0s")
	if r.Status != 0 || !strings.Contains(r.Stderr, "problem sweeping networks: no stage1") || !strings.Contains(r.Stderr, "run any pod with a network") {
		t.Errorf("%s", r)
	}
	if _, err := os.Stat(filepath.Join(n.Dir, "net", "pods", uuid)); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record is gone, but nothing was swept")
	}
	n.image = n.Fetch(harness.Busybox(t, webPort()))
	n.works("the sweep that had no stage1", port)
	n.swept("a sweep", uuid)
}

// TestSweepsAtOnce runs several gc at once that also take away what lies in
// DATA/tmp, while there is always something to sweep.
func TestSweepsAtOnce(t *testing.T) {
	const collectors = 3
	n := newNetPods(t, false)
	var uuids []string
	for range pick(5, 50) {
		n.OK(n.run(0, "true")...)
		for _, uuid := range n.Pods() {
			n.removeDir(uuid)
			uuids = append(uuids, uuid)
		}
		var wg sync.WaitGroup
		for range collectors {
			wg.Go(func() {
				if r := n.Run("gc", "--grace-period=0s"); r.Status != 0 || strings.Contains(r.Stderr, "problem") {
					t.Errorf("%s", r)
				}
			})
		}
		wg.Wait()
	}
	n.swept("sweeps at once", uuids...)
}
