// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

func readReport(t *testing.T, file string) stubReport {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r stubReport
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func needs(t testing.TB) {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
}

func TestRun(t *testing.T) {
	needs(t)
	for _, mode := range []string{"overlay", "copy"} {
		t.Run(mode, func(t *testing.T) { testRun(t, mode == "copy") })
	}
}

func testRun(t *testing.T, noOverlay bool) {
	w := newWorld(t)
	c := w.prepareConfig()
	c.NoOverlay = noOverlay
	uuid := w.prepared(c)
	report := filepath.Join(t.TempDir(), "report")
	cmd := w.command("run-prepared", uuid.String())
	cmd.Env = append(cmd.Env, "STUB_REPORT="+report, "STUB_EXIT_RUN=7", "STUB_HOSTNAME=h", "RKT_LOCK_FD=junk")
	stray, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stray.Close() }()
	cmd.ExtraFiles = []*os.File{stray}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("run: %v, want the status of stage1\n%s", err, out)
	}
	r := readReport(t, report+".run")
	path := filepath.Join(w.dir, poddir.Pods, poddir.Run, uuid.String())
	wantArgs := []string{path + "/stage1/rootfs/run", "--net=default", "--hostname=h", uuid.String()}
	if diff := cmp.Diff(wantArgs, r.Args); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	if r.AppFile != "content" || r.Mtab != "../proc/self/mounts" || !r.HasStage1 {
		t.Errorf("trees not in place: file %q, mtab %q, stage1 %v", r.AppFile, r.Mtab, r.HasStage1)
	}
	if seen := strings.Contains(r.Mounts, path); seen == noOverlay {
		t.Errorf("stage1 sees overlay mounts: %v", seen)
	}
	for fd, target := range r.FDs {
		if fd > 2 && target != path {
			t.Errorf("descriptor %d -> %s reached stage1", fd, target)
		}
	}
	w.wantNoMounts()
	p := w.open(uuid)
	status, err := p.AppStatus("app")
	if p.State() != pod.Exited || err != nil || status == nil || status.Code != 7 {
		t.Errorf("state %q, app status %+v, %v", p.State(), status, err)
	}
}

func TestRunSaysNothingWithoutNeed(t *testing.T) {
	needs(t)
	w := newWorld(t)
	cmd := w.command("run")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil || stdout.Len() != 0 {
		t.Errorf("%v, stdout %q", err, stdout.String())
	}
}

func TestRunRacesForOnePod(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.prepared(w.prepareConfig())
	const n = 4
	results := make([]error, n)
	outputs := make([][]byte, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { outputs[i], results[i] = w.command("run-prepared", uuid.String()).CombinedOutput() })
	}
	wg.Wait()
	won := 0
	for i, err := range results {
		if err == nil {
			won++
			continue
		}
		var exit *exec.ExitError
		// A loser may also come so late that the pod is not prepared any more,
		// which is for the command to check.
		if !errors.As(err, &exit) || exit.ExitCode() != 254 || !bytes.Contains(outputs[i], []byte("cannot")) {
			t.Errorf("loser: %v, %s", err, outputs[i])
		}
	}
	if won != 1 {
		t.Errorf("%d of %d ran the pod", won, n)
	}
}

// What is not there is found before the pod leaves its state, so that it can
// be started once the tree is back.
func TestRunWithoutTreeLeavesPodPrepared(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.prepared(w.prepareConfig())
	tree, away := filepath.Join(w.store.dir, appID.String(), "rootfs"), filepath.Join(w.store.dir, "away")
	if err := os.Rename(tree, away); err != nil {
		t.Fatal(err)
	}
	p := w.open(uuid)
	err := Run(context.Background(), p, RunConfig{Env: w.env})
	if !errors.Is(err, fs.ErrNotExist) || hint.Of(err) == "" {
		t.Errorf("without its tree: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if state := w.open(uuid).State(); state != pod.Prepared {
		t.Fatalf("state %q", state)
	}
	if err := os.Rename(away, tree); err != nil {
		t.Fatal(err)
	}
	if out, err := w.command("run-prepared", uuid.String()).CombinedOutput(); err != nil {
		t.Errorf("with its tree: %v, %s", err, out)
	}
}

func TestRunFailureLeavesDeletablePod(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.prepared(w.prepareConfig())
	// Somebody removed a file of the pod.
	app := filepath.Join(w.dir, poddir.Pods, poddir.Prepared, uuid.String(), poddir.AppInfoManifest("app"))
	if err := os.Remove(app); err != nil {
		t.Fatal(err)
	}
	err := Run(context.Background(), w.open(uuid), RunConfig{Env: w.env})
	if err == nil {
		t.Fatal("ran without the manifest of its app")
	}
	for _, p := range w.all() {
		if p.State != pod.Exited && p.State != pod.Running { // this process still has it open
			t.Errorf("state %q", p.State)
		}
	}
}

func (w *world) all() []pod.Info {
	w.t.Helper()
	l, err := pod.List(context.Background(), w.dir, pod.ListedDirs(), pod.Full)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Pods
}

func TestLayersReachTheApp(t *testing.T) {
	needs(t)
	w := newWorld(t)
	c := w.prepareConfig()
	c.Apps = []App{{Image: layersID, Name: "app"}}
	uuid := w.prepared(c)
	report := filepath.Join(t.TempDir(), "report")
	cmd := w.command("run-prepared", uuid.String())
	cmd.Env = append(cmd.Env, "STUB_REPORT="+report)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r := readReport(t, report+".run"); r.AppFile != "top" || r.Mtab == "" {
		t.Errorf("file %q, mtab %q", r.AppFile, r.Mtab)
	}
}

func TestStopAndEnter(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newWorld(t)
	uuid := w.prepared(w.prepareConfig())
	prepared := w.open(uuid)
	if err := Stop(ctx, prepared, StopConfig{Env: w.env}); !errors.Is(err, ErrNotRunning) || err.Error() != fmt.Sprintf("pod %q is not running", uuid) {
		t.Errorf("stop of a prepared pod: %v", err)
	}
	if err := Enter(ctx, prepared, EnterConfig{Env: w.env}); err == nil || err.Error() != fmt.Sprintf("pod %q isn't currently running", uuid) {
		t.Errorf("enter of a prepared pod: %v", err)
	}
	run := w.command("run-prepared", uuid.String())
	run.Env = append(run.Env, "STUB_WAIT=1")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	w.awaitPID(uuid)
	report := filepath.Join(t.TempDir(), "report")
	enter := w.command("enter", uuid.String(), "/bin/ls", "-l")
	enter.Env = append(enter.Env, "STUB_REPORT="+report, "STUB_EXIT_ENTER=9")
	var exit *exec.ExitError
	if out, err := enter.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 9 {
		t.Errorf("enter: %v, want the status of the program\n%s", err, out)
	}
	root := filepath.Join(w.store.dir, stage1ID.String(), "rootfs")
	want := []string{root + "/enter", fmt.Sprintf("--pid=%d", run.Process.Pid), "--appname=app", "--", "/bin/ls", "-l"}
	if diff := cmp.Diff(want, readReport(t, report+".enter").Args); diff != "" {
		t.Errorf("argv of enter (-want +got):\n%s", diff)
	}
	p := w.open(uuid)
	if err := Stop(ctx, p, StopConfig{Env: w.env}); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := run.Wait(); err != nil {
		t.Errorf("stopped pod: %v", err)
	}
	if err := Stop(ctx, p, StopConfig{Env: w.env}); !errors.Is(err, ErrAlreadyStopped) || err.Error() != fmt.Sprintf("pod %q is already stopped", uuid) {
		t.Errorf("second stop: %v", err)
	}
}

func (w *world) awaitPID(uuid poddir.UUID) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit)
	defer cancel()
	for {
		p := w.open(uuid)
		if p.State() == pod.Prepared { // not started yet
			if ctx.Err() != nil {
				w.t.Fatal("pod was not started")
			}
			continue
		}
		if _, err := p.WaitInitPID(ctx); err != nil {
			w.t.Fatal(err)
		}
		return
	}
}

func TestChooseApp(t *testing.T) {
	needs(t)
	w := newWorld(t)
	c := w.prepareConfig()
	c.Apps = []App{{Image: appID}, {Image: layersID}}
	p := w.open(w.prepared(c))
	m, err := p.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.env.chooseApp(m, "", "enter"); err == nil || err.Error() != `specify app using "rkt enter --app= ..."` {
		t.Errorf("%v", err)
	}
	if got, want := w.messages(), "pod contains multiple apps:\n\tapp\n\tlayers"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := w.env.chooseApp(m, "x", "export"); err == nil || err.Error() != "app x is not present in pod" {
		t.Errorf("%v", err)
	}
	if name, err := w.env.chooseApp(m, "layers", "enter"); err != nil || name != "layers" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestListenFDs(t *testing.T) {
	pid := fmt.Sprint(os.Getpid())
	tests := []struct {
		env  []string
		want int
	}{
		{nil, 0},
		{[]string{"LISTEN_FDS=2"}, 0},
		{[]string{"LISTEN_FDS=2", "LISTEN_PID=1"}, 0},
		{[]string{"LISTEN_FDS=2", "LISTEN_PID=" + pid}, 2},
		{[]string{"LISTEN_FDS=-2", "LISTEN_PID=" + pid}, 0},
		{[]string{"LISTEN_FDS=x", "LISTEN_PID=" + pid}, 0},
	}
	for _, tt := range tests {
		if got := listenFDs(tt.env); got != tt.want {
			t.Errorf("listenFDs(%v) = %d, want %d", tt.env, got, tt.want)
		}
	}
}

func TestDNSFiles(t *testing.T) {
	d := DNS{
		Servers: []string{"8.8.8.8", "1.1.1.1"}, Search: []string{"a", "b"}, Options: []string{"debug", "rotate"}, Domain: "example.com",
		Hosts: []HostsEntry{{"10.0.0.1", []string{"one", "uno"}}, {"10.0.0.2", []string{"two"}}},
	}
	const resolv = "# Generated by rkt run\n\nsearch a b\nnameserver 8.8.8.8\nnameserver 1.1.1.1\noptions debug rotate\ndomain example.com\n"
	if diff := cmp.Diff(resolv, d.resolvConf()); diff != "" {
		t.Error(diff)
	}
	const hosts = "#created by rkt stage0\n127.0.0.1 localhost localhost.localdomain\n\n# Added by rkt run --hosts-entry\n10.0.0.1 one uno\n10.0.0.2 two\n"
	if diff := cmp.Diff(hosts, d.hosts(defaultHosts)); diff != "" {
		t.Error(diff)
	}
	if got := (&DNS{}).resolvConf(); got != "# Generated by rkt run\n\n" {
		t.Errorf("%q", got)
	}
}
