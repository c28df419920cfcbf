// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// running is a pod whose app waits.
type running struct {
	*testPod
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error
}

func (p *testPod) start(r entrypoint.Run) *running {
	p.t.Helper()
	p.exec("wait")
	cmd := p.runCommand(r)
	stdin, err := cmd.StdinPipe()
	p.must(err)
	stdout, err := cmd.StdoutPipe()
	p.must(err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	p.must(cmd.Start())
	run := &running{testPod: p, cmd: cmd, stdin: stdin, ended: make(chan error, 1)}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = cmd.Wait()
		p.t.Fatalf("%q, %v: %s", line, err, errs.String())
	}
	go func() { run.ended <- cmd.Wait() }()
	p.t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Process.Kill() })
	return run
}

// wait waits for the app's end.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(20 * time.Second):
		r.t.Fatal("the app does not end")
		return nil
	}
}

func (r *running) enter(words ...string) result {
	r.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(r.read(poddir.PID)))
	r.must(err)
	cmd := r.command("enter", entrypoint.Enter{PID: pid, App: "web", Cmd: words}.Argv())
	extra, err := os.Open("/dev/null")
	r.must(err)
	defer func() { _ = extra.Close() }()
	cmd.ExtraFiles = []*os.File{extra}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return result{stdout: out.String(), stderr: errs.String(), status: cmd.ProcessState.ExitCode()}
}

// TestEnterIsConfinedAsTheApp compares what the app and the command see.
func TestEnterIsConfinedAsTheApp(t *testing.T) {
	p := newPod(t)
	must := must[appc.Isolator](t)
	p.app().User, p.app().Group, p.app().SupplementaryGIDs = "7", "8", []int{9}
	p.app().Environment = appc.Environment{{Name: "ODD", Value: "two\nlines"}, {Name: "PATH", Value: "/nowhere:/bin"}}
	p.app().Isolators = appc.Isolators{
		must(isolator.CapsRetainFlag([]string{"CAP_KILL"})), must(isolator.SeccompFlag("mode=remove,swapon")),
		must(isolator.MemoryFlag("256Mi")), must(isolator.OOMScoreAdjFlag(123)),
	}
	app := p.report(entrypoint.Run{IPC: "private"})
	run := p.start(entrypoint.Run{IPC: "private"})
	var got report
	r := run.enter("probe", "report", "x")
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	p.must(json.Unmarshal([]byte(r.stdout), &got))
	for _, key := range []string{"CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"} {
		if app.Status[key] != got.Status[key] {
			t.Errorf("%s: the app has %q, the command %q", key, app.Status[key], got.Status[key])
		}
	}
	if got.Status["Seccomp"] != "2" || got.Status["NoNewPrivs"] != "1" || got.UID != 7 || got.OOM != "123" || got.Umask != 0o022 {
		t.Errorf("%+v", got)
	}
	if app.Cgroup != got.Cgroup || !strings.Contains(got.Cgroup, p.id.Scope()) {
		t.Errorf("cgroups:\n%s%s", app.Cgroup, got.Cgroup)
	}
	for _, n := range []string{"mnt", "ipc"} {
		if theirs, _ := os.Readlink("/proc/" + strconv.Itoa(run.cmd.Process.Pid) + "/ns/" + n); theirs != got.Namespace[n] {
			t.Errorf("%s namespace %s, the app's is %s", n, got.Namespace[n], theirs)
		}
	}
	want := append(slices.Clone(app.Env), "TERM=caller-term")
	slices.Sort(want)
	if diff := cmp.Diff(want, got.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if !slices.Equal(got.FDs, []string{"0", "1", "2"}) || got.Dir != "/" || !slices.Equal(got.Args, []string{"/bin/probe", "report", "x"}) {
		t.Errorf("%+v", got)
	}
	if r := run.enter("/bin/probe", "exit", "9"); r.status != 9 {
		t.Errorf("%+v", r)
	}
	p.must(run.stdin.Close())
	if err := run.wait(); err != nil {
		t.Error(err)
	}
}

func TestEnterRefuses(t *testing.T) {
	p := newPod(t)
	run := p.start(entrypoint.Run{})
	for _, tt := range []struct{ cmd, want string }{
		{"/no/such", "Error: Unable to open \"/no/such\": No such file or directory\n"},
		{"nothing", "Error: Unable to open \"nothing\": No such file or directory\n"},
	} {
		if r := run.enter(tt.cmd); r.status != statusFailed || !strings.HasPrefix(r.stderr, tt.want) {
			t.Errorf("%+v", r)
		}
	}
	for _, e := range []entrypoint.Enter{
		{PID: os.Getpid(), App: "web", Cmd: []string{"/bin/probe", "exit", "0"}}, // not the pod's
		{PID: run.cmd.Process.Pid, App: "other", Cmd: []string{"/bin/probe", "exit", "0"}},
		{PID: run.cmd.Process.Pid, Cmd: []string{"/bin/probe", "exit", "0"}},
	} {
		if out, err := p.entry("enter", e.Argv()); err == nil || !strings.HasPrefix(out, "enter: ") {
			t.Errorf("%+v: %q, %v", e, out, err)
		}
	}
}

func TestStop(t *testing.T) {
	for force, want := range map[bool]syscall.Signal{false: syscall.SIGTERM, true: syscall.SIGKILL} {
		p := newPod(t)
		run := p.start(entrypoint.Run{})
		if out, err := p.entry("stop", entrypoint.Stop{Force: force, UUID: p.id}.Argv()); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
		var exit *exec.ExitError
		if err := run.wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// TestStopSparesOthers: a PID that was given away is not signalled.
func TestStopSparesOthers(t *testing.T) {
	p := newPod(t)
	run := p.start(entrypoint.Run{})
	p.must(run.stdin.Close())
	if err := run.wait(); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("/bin/sleep", "1000")
	p.must(other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.PID), []byte(strconv.Itoa(other.Process.Pid)+"\n"), 0o644))
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.PGID), []byte(strconv.Itoa(syscall.Getpgrp())+"\n"), 0o644))
	// This test holds the pod directory open, in its own process group; as a
	// stray of the app would. Let go of it first.
	p.must(p.lock.Close())
	out, err := p.entry("stop", entrypoint.Stop{Force: true, UUID: p.id}.Argv())
	if err == nil || !strings.Contains(out, "stop: the app's process has ended") {
		t.Errorf("%q, %v", out, err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other process: %v", err)
	}
}

// stray starts a process as an app may leave it behind: in the app's root, with
// the lock of the pod, in another process group.
func (p *testPod) stray() *exec.Cmd {
	p.t.Helper()
	p.must(unix.Flock(int(p.lock.Fd()), unix.LOCK_EX))
	stray := exec.Command("/bin/probe", "wait")
	stray.ExtraFiles = []*os.File{p.lock}
	stray.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: p.root}
	in, err := stray.StdinPipe()
	p.must(err)
	p.t.Cleanup(func() { _ = in.Close() })
	out, err := stray.StdoutPipe()
	p.must(err)
	p.must(stray.Start())
	_, err = out.Read(make([]byte, 6))
	p.must(err)
	return stray
}

func killedBy(err error) syscall.Signal {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0
	}
	return exit.Sys().(syscall.WaitStatus).Signal()
}

// TestStopReachesStrays: the app's process is gone, a child of it holds the
// pod. The process group is the caller's, and not what is signalled.
func TestStopReachesStrays(t *testing.T) {
	p := newPod(t)
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.PID), []byte("999999999\n"), 0o644))
	other := exec.Command("/bin/sleep", "1000") // the script that called rkt, say
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.must(other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.PGID), []byte(strconv.Itoa(other.Process.Pid)+"\n"), 0o644))
	stray := p.stray()
	if out, err := p.entry("stop", entrypoint.Stop{UUID: p.id}.Argv()); err != nil {
		_ = stray.Process.Kill()
		t.Errorf("%s, %v", out, err)
	}
	if err := stray.Wait(); killedBy(err) != syscall.SIGTERM {
		t.Errorf("%v", err)
	}
	if out, err := p.entry("stop", entrypoint.Stop{UUID: p.id}.Argv()); err == nil {
		t.Errorf("nobody is left: %q", out)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the caller: %v", err)
	}
}

// TestStopForceEndsAll: what the app has started keeps no pod alive.
func TestStopForceEndsAll(t *testing.T) {
	p := newPod(t)
	run := p.start(entrypoint.Run{})
	stray := p.stray()
	if out, err := p.entry("stop", entrypoint.Stop{Force: true, UUID: p.id}.Argv()); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	if err := stray.Wait(); killedBy(err) != syscall.SIGKILL {
		t.Errorf("%v", err)
	}
	if err := run.wait(); killedBy(err) != syscall.SIGKILL {
		t.Errorf("%v", err)
	}
}

// TestGC: from every state, and twice.
func TestGC(t *testing.T) {
	p := newPod(t)
	p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.MemoryFlag("256Mi"))}
	run := p.start(entrypoint.Run{})
	p.must(run.stdin.Close())
	if err := run.wait(); err != nil {
		t.Fatal(err)
	}
	paths := strings.Split(strings.TrimSpace(p.read(poddir.Cgroups)), "\n")
	p.must(os.MkdirAll(filepath.Join(paths[0], "below"), 0o755))
	stray := exec.Command("/bin/sleep", "1000")
	p.must(stray.Start())
	p.must(os.WriteFile(filepath.Join(paths[0], "below", "cgroup.procs"), []byte(strconv.Itoa(stray.Process.Pid)), 0))
	gone := make(chan error, 1)
	go func() { gone <- stray.Wait() }()
	for range 2 {
		if out, err := p.entry("gc", entrypoint.GC{Debug: true, LocalConfig: "/etc/rkt", UUID: p.id}.Argv(6)); err != nil || out != "" {
			t.Errorf("%q, %v", out, err)
		}
	}
	if err := <-gone; err == nil {
		t.Error("the stray ended by itself")
	}
	if _, err := os.Stat(paths[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", paths[0], err)
	}
	// A damaged list removes nothing.
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.Cgroups), []byte("/sys/fs/cgroup/pids\n"), 0o644))
	if out, err := p.entry("gc", entrypoint.GC{UUID: p.id}.Argv(6)); err == nil || !strings.Contains(out, "not a cgroup of this pod") {
		t.Errorf("%q, %v", out, err)
	}
	p.must(os.Remove(filepath.Join(p.dir, poddir.Cgroups)))
}

func TestWrongName(t *testing.T) {
	fly, _ := programs(t)
	out, err := exec.Command(fly).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is not an entrypoint of stage1-fly") {
		t.Errorf("%q, %v", out, err)
	}
}
