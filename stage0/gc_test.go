// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func (w *world) gc(change func(*GCConfig)) string {
	w.t.Helper()
	c := GCConfig{CollectConfig: CollectConfig{Env: w.env}}
	if change != nil {
		change(&c)
	}
	w.stdout.Reset()
	if err := GC(context.Background(), c); err != nil {
		w.t.Fatal(err)
	}
	return w.messages()
}

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

// holdLock starts a process that holds a pod.
func (w *world) holdLock(uuid poddir.UUID) (release func()) {
	w.t.Helper()
	cmd := w.command("hold", uuid.String())
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		w.t.Fatalf("%q, %v", line, err)
	}
	done := false
	release = func() {
		if !done {
			done = true
			_ = in.Close()
			_ = cmd.Wait()
		}
	}
	w.t.Cleanup(release)
	return release
}

// aborted makes a pod whose preparation failed.
func (w *world) aborted() poddir.UUID {
	w.t.Helper()
	p, err := Prepare(context.Background(), w.prepareConfig())
	if err != nil {
		w.t.Fatal(err)
	}
	_ = p.Close()
	return p.UUID()
}

func TestGCSteps(t *testing.T) {
	needs(t)
	w := newWorld(t)
	exited, aborted, prepared := w.exited(w.prepareConfig()), w.aborted(), w.prepared(w.prepareConfig())
	busy := w.prepared(w.prepareConfig())
	release := w.holdLock(busy) // being started this instant

	says := func(got string, want ...string) {
		t.Helper()
		if len(want) == 0 && got != "" {
			t.Errorf("said %q", got)
		}
		for _, s := range want {
			if !strings.Contains(got, s) {
				t.Errorf("said %q, want %q", got, s)
			}
		}
	}
	state := func(uuid poddir.UUID, want pod.State) {
		t.Helper()
		if p := w.open(uuid); p.State() != want {
			t.Errorf("pod %s is %q, want %q", uuid, p.State(), want)
		}
	}
	got := w.gc(func(c *GCConfig) { c.MarkOnly = true })
	says(got, fmt.Sprintf("moving pod %q to garbage", exited), fmt.Sprintf("moving failed prepare %q to garbage", aborted))
	state(exited, pod.ExitedGarbage)
	state(aborted, pod.Garbage)
	state(prepared, pod.Prepared)

	got = w.gc(func(c *GCConfig) { c.GracePeriod, c.ExpirePrepared = hours(1), hours(24) })
	says(got, fmt.Sprintf("pod %q not removed: still within grace period (1h0m0s)", exited))
	if want := fmt.Sprintf("Garbage collecting pod %q\n", aborted); w.stdout.String() != want {
		t.Errorf("stdout %q, want %q", w.stdout.String(), want)
	}
	state(exited, pod.ExitedGarbage)
	state(prepared, pod.Prepared)

	got = w.gc(func(c *GCConfig) {
		c.GracePeriod, c.ExpirePrepared = hours(1), hours(24)
		c.Now = func() time.Time { return time.Now().Add(hours(25)) }
	})
	says(got, fmt.Sprintf("moving expired prepared pod %q to garbage", prepared))
	state(busy, pod.Prepared)
	if strings.Contains(got, busy.String()) {
		t.Errorf("touched the busy pod: %s", got)
	}
	release()
	w.gc(nil)
	w.wantEmpty()
}

func TestGCRunsStage1(t *testing.T) {
	needs(t)
	for _, mode := range []string{"overlay", "copy"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			c := w.prepareConfig()
			c.NoOverlay = mode == "copy"
			uuid := w.exited(c)
			report := filepath.Join(t.TempDir(), "report")
			t.Setenv("STUB_REPORT", report)
			t.Setenv("STUB_EXIT_GC", "1")
			got := w.gc(func(c *GCConfig) { c.LocalConfig = "/etc/x"; c.Debug = true })
			r := readReport(t, report+".gc")
			root := filepath.Join(w.store.dir, stage1ID.String(), "rootfs")
			if want := fmt.Sprint([]string{root + "/gc", "--debug", "--local-config", "/etc/x", uuid.String()}); fmt.Sprint(r.Args) != want {
				t.Errorf("argv %v, want %v", r.Args, want)
			}
			if !r.HasStage1 {
				t.Error("stage1 was not in place")
			}
			if want := fmt.Sprintf("problem performing stage1 GC on %q: exit status 1", uuid); !strings.Contains(got, want) {
				t.Errorf("said %q, want %q", got, want)
			}
			w.wantEmpty()
		})
	}
}

// Whatever a pod has or lacks, it can be deleted.
func TestGCTakesEverything(t *testing.T) {
	needs(t)
	gone := func(rel ...string) func(*testing.T, *world, string) {
		return func(t *testing.T, _ *world, path string) {
			for _, r := range rel {
				if err := os.RemoveAll(filepath.Join(path, r)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tests := []struct {
		name string
		harm func(t *testing.T, w *world, path string)
	}{
		{"empty", func(t *testing.T, w *world, path string) {
			gone(podFiles()...)(t, w, path)
		}},
		{"no stage1 manifest", gone(poddir.Stage1Manifest)},
		{"no tree ID", gone(poddir.Stage1TreeStoreID)},
		{"no manifest", gone(poddir.PodManifest)},
		{"no overlay", gone(poddir.Overlay)},
		{"no mount point", gone(poddir.Stage1Rootfs)},
		{"bad manifests", func(t *testing.T, _ *world, path string) {
			put(t, filepath.Join(path, poddir.Stage1Manifest), "{")
			put(t, filepath.Join(path, poddir.PodManifest), "{")
		}},
		{"tree is gone", func(t *testing.T, w *world, _ string) {
			if err := os.RemoveAll(filepath.Join(w.store.dir, stage1ID.String(), "rootfs")); err != nil {
				t.Fatal(err)
			}
		}},
		{"tree ID is a path", func(t *testing.T, _ *world, path string) {
			put(t, filepath.Join(path, poddir.Stage1TreeStoreID), "../../../../..")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			uuid := w.exited(w.prepareConfig())
			tt.harm(t, w, filepath.Join(w.dir, poddir.Pods, poddir.Run, uuid.String()))
			w.gc(nil)
			w.wantEmpty()
		})
	}
}

func podFiles() []string {
	return []string{
		poddir.AppsInfo, poddir.Stage1, poddir.Stage1TreeStoreID, poddir.PodManifest, poddir.ManifestLock, poddir.Created,
		poddir.OverlayPrepared, poddir.Overlay, poddir.PID,
	}
}

// A pod may contain links that its apps, or somebody who broke out of one, planted.
func TestGCOfHostilePod(t *testing.T) {
	needs(t)
	tests := []struct{ name, rel string }{
		{"stage1 is a link", poddir.Stage1},
		{"root is a link", poddir.Stage1Rootfs},
		{"overlay is a link", poddir.Overlay},
		{"upper is a link", poddir.Overlay + "/deps-" + stage1ID.String() + "/upper"},
		{"app's upper is a link", poddir.Overlay + "/deps-" + appID.String() + "/upper/app"},
		{"net is a link", poddir.Net},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			uuid := w.exited(w.prepareConfig())
			outside := filepath.Join(t.TempDir(), "outside")
			for _, f := range []string{"precious", "rootfs/precious", "upper/precious", "deps-" + stage1ID.String() + "/upper/precious"} {
				put(t, filepath.Join(outside, f), "")
			}
			path := filepath.Join(w.dir, poddir.Pods, poddir.Run, uuid.String(), tt.rel)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, path); err != nil {
				t.Fatal(err)
			}
			err := Export(context.Background(), w.open(uuid), ExportConfig{Env: w.env, Output: filepath.Join(t.TempDir(), "x.aci")})
			if strings.HasPrefix(tt.name, "app's") && err == nil {
				t.Error("exported through a link")
			}
			closeAll(t, w)
			w.gc(nil)
			w.wantEmpty()
			for _, f := range []string{"precious", "rootfs/precious", "upper/precious", "deps-" + stage1ID.String() + "/upper/precious"} {
				if _, err := os.Stat(filepath.Join(outside, f)); err != nil {
					t.Errorf("outside: %v", err)
				}
			}
		})
	}
}

// closeAll closes the pods a test has open, which may carry shared locks.
func closeAll(t *testing.T, w *world) {
	t.Helper()
	for _, p := range w.opened {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.opened = nil
}

func TestGCUnmountsLeftovers(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.exited(w.prepareConfig())
	path := filepath.Join(w.dir, poddir.Pods, poddir.Run, uuid.String())
	volume := filepath.Join(t.TempDir(), "volume")
	put(t, volume+"/precious", "")
	// As a stage1 without a mount namespace of its own leaves them, one of
	// them busy, and one pod whose name begins like this one's.
	at := filepath.Join(path, poddir.Stage1Rootfs, "mnt")
	put(t, at+"/x", "")
	if err := unix.Mount(volume, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	busy, err := os.Create(filepath.Join(at, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	got := w.gc(nil)
	if !strings.Contains(got, "is busy, marking for lazy detach") {
		t.Errorf("said %q", got)
	}
	w.wantEmpty()
	if _, err := os.Stat(volume + "/precious"); err != nil {
		t.Errorf("the source of a mount: %v", err)
	}
}

func TestTwoGCsAndRemovers(t *testing.T) {
	needs(t)
	w := newWorld(t)
	var uuids []poddir.UUID
	for range 6 {
		uuids = append(uuids, w.exited(w.prepareConfig()), w.aborted())
	}
	var cmds []*exec.Cmd
	for range 3 {
		cmds = append(cmds, w.command("gc"))
	}
	for _, uuid := range uuids[:4] {
		cmds = append(cmds, w.command("rm", uuid.String()))
	}
	for _, c := range cmds {
		c.Stderr = new(strings.Builder)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cmds {
		err := c.Wait()
		text := fmt.Sprint(c.Stderr)
		// An aborted pod looks as if it were being prepared while a gc has its lock and has not moved it yet.
		excuses := []string{"was not present", "is currently being deleted", "is currently being prepared"}
		if err != nil && !slices.ContainsFunc(excuses, func(e string) bool { return strings.Contains(text, e) }) {
			t.Errorf("%v: %v\n%s", c.Args, err, text)
		}
	}
	w.gc(nil)
	w.wantEmpty()
}

func TestGCCollectsLeftovers(t *testing.T) {
	needs(t)
	w := newWorld(t)
	if err := pod.EnsureDirs(w.dir); err != nil {
		t.Fatal(err)
	}
	uuid := poddir.NewUUID().String()
	for _, dir := range []string{
		filepath.Join(poddir.Pods, poddir.Embryo, uuid),
		filepath.Join(poddir.Tmp, trashPrefix+uuid, "stage1", "rootfs"),
		filepath.Join(poddir.Tmp, "export-1234"),
	} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	w.gc(func(c *GCConfig) { c.GracePeriod = hours(1) })
	for rel, want := range map[string]bool{
		filepath.Join(poddir.Pods, poddir.Embryo, uuid): true, // may be in the making
		filepath.Join(poddir.Tmp, trashPrefix+uuid):     false,
		filepath.Join(poddir.Tmp, "export-1234"):        true,
	} {
		if _, err := os.Stat(filepath.Join(w.dir, rel)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", rel, err == nil, want)
		}
	}
	w.gc(nil)
	w.wantEmpty()
}

func TestRemoveByState(t *testing.T) {
	needs(t)
	tests := []struct {
		name  string
		make  func(w *world) poddir.UUID
		held  bool
		err   string // with %q for the UUID; empty: removed
		said  string
		state pod.State
	}{
		{name: "prepared", make: func(w *world) poddir.UUID { return w.prepared(w.prepareConfig()) }, said: "moving expired prepared pod %q to garbage"},
		{name: "aborted", make: (*world).aborted, said: "moving failed prepare %q to garbage"},
		{name: "exited", make: func(w *world) poddir.UUID { return w.exited(w.prepareConfig()) }},
		{name: "running", make: func(w *world) poddir.UUID { return w.exited(w.prepareConfig()) }, held: true, err: "pod %q is currently running", state: pod.Running},
		{name: "preparing", make: (*world).aborted, held: true, err: "pod %q is currently being prepared", state: pod.Preparing},
		{name: "exited garbage", make: func(w *world) poddir.UUID { return w.marked(w.exited(w.prepareConfig())) }},
		{name: "garbage", make: func(w *world) poddir.UUID { return w.marked(w.aborted()) }},
		{name: "deleting", make: func(w *world) poddir.UUID { return w.marked(w.aborted()) }, held: true, err: "pod %q is currently being deleted", state: pod.Deleting},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			uuid := tt.make(w)
			if tt.held {
				w.holdLock(uuid)
			}
			err := Remove(context.Background(), w.open(uuid), CollectConfig{Env: w.env})
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				closeAll(t, w)
				w.wantEmpty()
			} else if err == nil || err.Error() != fmt.Sprintf(tt.err, uuid) {
				t.Errorf("error %v, want %s", err, fmt.Sprintf(tt.err, uuid))
			} else if p := w.open(uuid); p.State() != tt.state {
				t.Errorf("state %q, want %q", p.State(), tt.state)
			}
			want := ""
			if tt.said != "" {
				want = fmt.Sprintf(tt.said, uuid)
			}
			if got := w.messages(); !strings.Contains(got, want) || (want == "" && strings.Contains(got, "moving")) {
				t.Errorf("said %q, want %q", got, want)
			}
		})
	}
}

// marked moves a pod to the garbage.
func (w *world) marked(uuid poddir.UUID) poddir.UUID {
	w.t.Helper()
	p := w.open(uuid)
	if err := p.ToGarbage(context.Background(), true); err != nil {
		w.t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		w.t.Fatal(err)
	}
	return uuid
}

func TestRemoveWaitsForOtherDeleter(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.marked(w.exited(w.prepareConfig()))
	release := w.holdLock(uuid)
	p := w.open(uuid)
	if p.State() != pod.ExitedDeleting {
		t.Fatalf("state %q", p.State())
	}
	done := make(chan error, 1)
	go func() { done <- Remove(context.Background(), p, CollectConfig{Env: w.env}) }()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	closeAll(t, w)
	w.wantEmpty()
}

func TestRemoveInPlace(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.exited(w.prepareConfig())
	// No place for the trash: a file is in the way.
	put(t, filepath.Join(w.dir, poddir.Tmp), "")
	if err := Remove(context.Background(), w.open(uuid), CollectConfig{Env: w.env}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.dir, poddir.Tmp)); err != nil {
		t.Fatal(err)
	}
	w.wantEmpty()
}

// BenchmarkGC1000 has a gc program of the size of stage1-fly's instead of the
// test binary, which takes ten times as long to start.
func BenchmarkGC1000(b *testing.B) {
	needs(b)
	src := filepath.Join(b.TempDir(), "main.go")
	put(b, src, "package main\n\nfunc main() {}\n")
	prog := filepath.Join(b.TempDir(), "gc")
	build := exec.Command("go", "build", "-o", prog, src)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		gc := filepath.Join(w.store.dir, stage1ID.String(), "rootfs", "gc")
		if err := os.Remove(gc); err != nil {
			b.Fatal(err)
		}
		if out, err := exec.Command("cp", prog, gc).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		exited := filepath.Join(w.dir, poddir.Pods, poddir.Run, w.exited(w.prepareConfig()).String())
		for i := range 999 {
			to := filepath.Join(w.dir, poddir.Pods, poddir.Run, fmt.Sprintf("%08x-1111-4111-8111-111111111111", i))
			if out, err := exec.Command("cp", "-a", exited, to).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
		closeWorld(w)
		b.StartTimer()
		w.gc(nil)
		b.StopTimer()
		w.wantEmpty()
		b.StartTimer()
	}
}

func closeWorld(w *world) {
	for _, p := range w.opened {
		_ = p.Close()
	}
}
