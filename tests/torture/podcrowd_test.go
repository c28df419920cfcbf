// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// warm runs a pod, so that the store has what it makes once.
func (p *pods) warm() {
	p.t.Helper()
	p.OK(p.run("true", "--private-users")...)
	p.collect("the first pod")
}

// ownTemp gives rkt a temporary directory that nobody else uses.
func (p *pods) ownTemp() string {
	p.t.Helper()
	dir := p.t.TempDir()
	p.Env = append(p.Env, "TMPDIR="+dir)
	return dir
}

// TestPodsAtOnce starts many pods in the same moment. Each says its line and
// ends well.
func TestPodsAtOnce(t *testing.T) {
	p := newPods(t)
	p.warm()
	temp := p.ownTemp()
	count := pick(12, 50)
	allowInotify(t, count)
	results := make([]harness.Result, count)
	begun := time.Now()
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { results[i] = p.Run(p.run("echo line " + strconv.Itoa(i))...) })
	}
	wg.Wait()
	t.Logf("%d pods at once: %s", count, time.Since(begun).Round(time.Millisecond))
	for i, r := range results {
		if want := fmt.Sprintf("line %d\n", i); r.Status != 0 || said(r) != want || len(errorLines(r)) > 0 {
			t.Errorf("pod %d: %s", i, r)
		}
	}
	uuids := p.Pods()
	if len(uuids) != count {
		t.Errorf("there are %d pods", len(uuids))
	}
	for _, uuid := range uuids {
		p.ended(uuid, "its end")
	}
	p.collect("a crowd", uuids...)
	emptyDir(t, temp)
}

func emptyDir(t *testing.T, dir string) {
	t.Helper()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind in %s: %v", dir, left)
	}
}

// TestPodAfterPod runs pod after pod: none loses its line or its status, and
// the machine is as before. Pods that die silently with exit status 0, one in a
// few dozen, were a trap of rkt 1.30 under newer versions of systemd.
func TestPodAfterPod(t *testing.T) {
	const each = 25 // pods between two collections
	p := newPods(t)
	p.warm()
	temp := p.ownTemp()
	before := look(p)
	var uuids []string
	count, lines := pick(30, 500), 0
	begun := time.Now()
	for i := range count {
		want := "line " + strconv.Itoa(i) + "\n"
		flags := []string{}
		if i%10 == 9 {
			flags = append(flags, "--private-users")
		}
		r := p.Run(p.run("echo line "+strconv.Itoa(i), flags...)...)
		if r.Status != 0 || said(r) != want {
			t.Errorf("pod %d: %s", i, r)
		} else {
			lines++
		}
		if i%each == each-1 || i == count-1 {
			now := p.Pods()
			uuids = append(uuids, now...)
			p.collect("pod "+strconv.Itoa(i), now...)
		}
	}
	took := time.Since(begun)
	t.Logf("%d pods one after the other, %d lines, %s each", count, lines, (took / time.Duration(count)).Round(time.Millisecond))
	if len(uuids) != count {
		t.Errorf("there were %d pods", len(uuids))
	}
	emptyDir(t, temp)
	before.compare(t, p)
}

// looks is what of the machine and of the data directory must not grow.
type looks struct {
	mounts, files []string
	cgroups       int
}

func look(p *pods) looks {
	p.t.Helper()
	var l looks
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 {
			l.mounts = append(l.mounts, f[4])
		}
	}
	// Everything but the store, whose trees are read-only.
	for _, pattern := range []string{"*", "pods/*", "pods/*/*", "locks/*", "tmp/*", "cas/*", "cas/tmp/*"} {
		found, _ := filepath.Glob(filepath.Join(p.Dir, pattern))
		l.files = append(l.files, found...)
	}
	l.cgroups = len(harness.Cgroups([]string{`machine-rkt`}))
	return l
}

// compare wants nothing to have come. Neighbours have mounts and cgroups, too:
// those are only told.
func (l looks) compare(t *testing.T, p *pods) {
	t.Helper()
	now := look(p)
	for _, f := range now.files {
		if !slices.Contains(l.files, f) {
			t.Errorf("left behind: %s", f)
		}
	}
	for _, m := range now.mounts {
		if !slices.Contains(l.mounts, m) && strings.HasPrefix(m, p.Dir) {
			t.Errorf("left behind: mount %s", m)
		}
	}
	t.Logf("mounts of the machine: %d before, %d after; cgroups of pods: %d, %d", len(l.mounts), len(now.mounts), l.cgroups, now.cgroups)
}

// TestAppAfterApp lets apps come and go in one mutable pod. Its processes have
// as many descriptors as before, and nothing of an app stays.
func TestAppAfterApp(t *testing.T) {
	p := newPods(t)
	sandbox := p.start("app", "sandbox", "--net=none")
	if !p.ready(sandbox) {
		t.Fatalf("no sandbox: %s", sandbox.Wait())
	}
	leader := atoi(t, p.Status(sandbox.UUID)["pid"])
	supervisor := sandbox.Cmd.Process.Pid
	round := func(i int) {
		t.Helper()
		name := "app" + strconv.Itoa(i)
		p.OK("app", "add", sandbox.UUID, p.image, "--name="+name, "--mnt-volume=name=v,kind=empty,target=/v", "--exec=/bin/sh", "--", "-c", "echo line; exec sleep 1000")
		p.OK("app", "start", sandbox.UUID, "--app="+name)
		sandbox.WaitContains("] " + name + "[")
		p.OK("app", "stop", sandbox.UUID, "--app="+name)
		p.OK("app", "rm", sandbox.UUID, "--app="+name)
	}
	round(0)
	counts := func() [3]int {
		groups := 0
		for _, dir := range harness.Cgroups([]string{sandbox.UUID}) {
			_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups++
				}
				return nil
			})
		}
		return [3]int{descriptors(supervisor), descriptors(leader), groups}
	}
	before, beforeSize := counts(), pss(supervisor)
	rounds := pick(8, 200)
	for i := range rounds {
		round(i + 1)
		p.noApps(sandbox.UUID, "round "+strconv.Itoa(i))
	}
	var after [3]int
	if !harness.WaitFor(moment, func() bool { after = counts(); return after == before }) {
		t.Errorf("descriptors of the supervisor and of PID 1, and cgroups of the pod: %v after the first app, %v after %d more", before, after, rounds)
	}
	t.Logf("supervisor: %d KiB after the first app, %d KiB after %d more", beforeSize>>10, pss(supervisor)>>10, rounds)
	p.OK("stop", sandbox.UUID)
	if r := sandbox.Wait(); r.Status != 0 || strings.Count(r.Stdout, ": line\n") != rounds+1 {
		t.Errorf("%s", r)
	}
	p.ended(sandbox.UUID, "stop")
	p.collect("stop", sandbox.UUID)
}

// pss is the proportional set size of a process in bytes, 0 if it has ended.
func pss(pid int) int64 {
	data, err := os.ReadFile(procFile(pid, "smaps_rollup"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// TestIdlePods keeps pods alive that have nothing to do, and wants each to take
// little memory beyond its app.
func TestIdlePods(t *testing.T) {
	const most = 15 << 20
	count := pick(5, 200)
	p := newPods(t)
	allowInotify(t, count)
	p.warm()
	begun := time.Now()
	procs := make([]*harness.Proc, count)
	for i := range procs {
		procs[i] = p.start(p.run("exec sleep 100000")...)
		p.running(procs[i])
	}
	t.Logf("%d pods started one after the other in %s", count, time.Since(begun).Round(time.Millisecond))
	sums := map[string]int64{}
	var sum int64
	for _, proc := range procs {
		for _, process := range harness.ProcessesOf(proc.UUID) {
			role := "app"
			for name, is := range roles {
				if name != "app" && name != "launch" && is(process, proc.Cmd.Process.Pid) {
					role = name
				}
			}
			size := pss(process.PID)
			sums[role] += size
			if role != "app" {
				sum += size
			}
		}
	}
	each := sum / int64(count)
	for role, size := range sums {
		t.Logf("%s: %d KiB on average", role, size/int64(count)>>10)
	}
	t.Logf("%d idle pods: %d KiB each beyond the app", count, each>>10)
	if each > most {
		t.Errorf("an idle pod takes %d bytes, more than %d", each, most)
	}
	times := []time.Duration{}
	const often = 5
	for range often {
		r := p.Run("list")
		if r.Status != 0 || strings.Count(r.Stdout, "running") != count {
			t.Errorf("%s", r)
		}
		times = append(times, r.Took)
	}
	t.Logf("rkt list of %d running pods: %v", count, times)
	for _, proc := range procs {
		proc.Signal(syscall.SIGTERM)
	}
	for _, proc := range procs {
		if r := proc.Wait(); r.Status != 0 || r.Signal != 0 {
			t.Errorf("%s", r)
		}
	}
	uuids := p.Pods()
	for _, uuid := range uuids {
		p.ended(uuid, "stop")
	}
	p.collect("stop", uuids...)
}

// allowInotify raises the host's limit of inotify instances, of which the
// systemd of each pod has some, while the test runs: the kernel's default is
// enough for some forty pods.
func allowInotify(t *testing.T, pods int) {
	t.Helper()
	const file, each, others = "/proc/sys/fs/inotify/max_user_instances", 3, 100
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := pods*each + others; atoi(t, strings.TrimSpace(string(data))) < want {
		write := func(value string) {
			if err := os.WriteFile(file, []byte(value), 0); err != nil {
				t.Errorf("%v", err)
			}
		}
		write(strconv.Itoa(want))
		t.Cleanup(func() { write(string(data)) })
	}
}
