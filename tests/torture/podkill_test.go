// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// roles are the processes of a pod, by what they are called.
var roles = map[string]func(p harness.Process, supervisor int) bool{
	"supervisor": func(p harness.Process, supervisor int) bool { return p.PID == supervisor },
	"guard": func(p harness.Process, supervisor int) bool {
		return p.PID != supervisor && strings.HasSuffix(p.Args[0], "/stage1/rootfs/init")
	},
	"nspawn":  func(p harness.Process, _ int) bool { return slices.Contains(p.Args, "systemd-nspawn") },
	"systemd": func(p harness.Process, _ int) bool { return p.Args[0] == "/usr/lib/systemd/systemd" },
	"launch":  func(p harness.Process, _ int) bool { return p.Args[0] == "/launch" },
	"app":     func(p harness.Process, _ int) bool { return p.Args[0] == "/bin/sh" },
}

// find returns a process of the pod in that role, 0 if there is none.
func find(role, uuid string, supervisor int) int {
	for _, p := range harness.ProcessesOf(uuid) {
		if roles[role](p, supervisor) {
			return p.PID
		}
	}
	return 0
}

const slowScript = "echo first; sleep 0.2; echo second"

// TestKillAtAnyTime kills a process of a pod at random moments of its life, also
// where there is no failpoint. Nothing stays, and no pod is said to have ended
// well that has not.
func TestKillAtAnyTime(t *testing.T) {
	rounds := map[string]int{"launch": pick(3, 40)} // who is missed only after seconds
	for role := range roles {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			p := newPods(t)
			p.warm()
			hit, rounds := 0, rounds[role]
			if rounds == 0 {
				rounds = pick(6, 150)
			}
			for range rounds {
				if p.killRound(role) {
					hit++
				}
			}
			t.Logf("%s: killed in %d of %d pods", role, hit, rounds)
			if hit == 0 {
				t.Errorf("%s was never killed: the test shows nothing", role)
			}
		})
	}
}

// killRound runs a pod and kills the role in it once; it tells whether there was one.
func (p *pods) killRound(role string) bool {
	p.t.Helper()
	const most = 350 * time.Millisecond // a short pod's life
	delay := time.Duration(rand.Int64N(int64(most)))
	var proc *harness.Proc
	if role == "supervisor" { // which is rkt before that
		proc = p.Start(p.run(slowScript)...)
		time.Sleep(delay)
	} else {
		proc = p.start(p.run(slowScript)...)
		if role != "launch" { // whose life is short
			time.Sleep(delay)
		}
	}
	pid := 0
	harness.WaitFor(harness.Timeout, func() bool {
		if role == "supervisor" {
			pid = proc.Cmd.Process.Pid
		} else {
			pid = find(role, proc.UUID, proc.Cmd.Process.Pid)
		}
		return pid != 0 || proc.Ended()
	})
	begun := len(p.started()) > 0
	killed := pid != 0 && !proc.Ended() && syscall.Kill(pid, syscall.SIGKILL) == nil
	at := time.Now()
	r := proc.Wait()
	after := "SIGKILL of " + role + " after " + delay.String()
	switch {
	case role == "guard":
		if killed && begun && (r.Status != 0 || r.Signal != 0) {
			p.t.Errorf("%s: the pod does not live on: %s", after, r)
		}
	case killed && time.Since(at) > moment:
		p.t.Errorf("%s: ended %s later: %s", after, time.Since(at), r)
	}
	if r.Status == 0 && said(r) != "first\nsecond\n" {
		p.t.Errorf("%s: the pod dies silently: %s", after, r)
	}
	uuids := p.Pods()
	for _, uuid := range uuids {
		p.ended(uuid, after)
	}
	p.collect(after, uuids...)
	return killed
}

// started are the files that tell of apps that run.
func (p *pods) started() []string {
	found, _ := filepath.Glob(filepath.Join(p.Dir, "pods", "run", "*", "apps", "*.pid"))
	return found
}

// TestKillSupervisorOfSandbox kills the supervisor of a mutable pod while apps
// come and go.
func TestKillSupervisorOfSandbox(t *testing.T) {
	p := newPods(t)
	for range pick(4, 60) {
		proc := p.start("app", "sandbox", "--net=none")
		if !p.ready(proc) {
			t.Fatalf("no sandbox: %s", proc.Wait())
		}
		const most = 300 * time.Millisecond
		delay := time.Duration(rand.Int64N(int64(most)))
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(delay)
			_ = proc.Cmd.Process.Kill()
		}()
		// Whatever these answer, they come to an end.
		p.Run("app", "add", proc.UUID, p.image, "--name=app", "--exec=/bin/sleep", "--", "1000")
		p.Run("app", "start", proc.UUID, "--app=app")
		p.Run("app", "stop", proc.UUID, "--app=app")
		p.Run("app", "rm", proc.UUID, "--app=app")
		<-done
		proc.Wait()
		p.ended(proc.UUID, "SIGKILL after "+delay.String())
		p.collect("SIGKILL after "+delay.String(), proc.UUID)
	}
}

// TestKillOfIdlePod kills every process of a pod in turn that has nothing to do.
func TestKillOfIdlePod(t *testing.T) {
	p := newPods(t)
	for _, role := range []string{"guard", "supervisor", "systemd", "nspawn", "app"} {
		proc := p.start(p.run("echo first; exec sleep 1000")...)
		proc.WaitContains("]: first")
		pid := 0
		harness.WaitFor(moment, func() bool {
			if pid = find(role, proc.UUID, proc.Cmd.Process.Pid); role == "app" {
				pid = p.appPID(proc.UUID) // not the shell that becomes it
			}
			return pid != 0
		})
		if pid == 0 {
			t.Fatalf("no %s among %v", role, harness.ProcessesOf(proc.UUID))
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if role == "guard" {
			const while = 300 * time.Millisecond
			time.Sleep(while)
			if proc.Ended() || p.state(proc.UUID) != "running" {
				t.Fatalf("without a guard the pod is over: %s", proc.Wait())
			}
			p.OK("stop", proc.UUID)
		}
		r := proc.Wait()
		if fine := r.Status == 0 && r.Signal == 0; fine != (role == "guard") {
			t.Errorf("SIGKILL of %s: %s", role, r)
		}
		if r.Signal == 0 && role != "guard" && role != "app" && len(errorLines(r)) != 1 {
			t.Errorf("SIGKILL of %s: want one line that tells: %s", role, r)
		}
		p.ended(proc.UUID, "SIGKILL of "+role)
		p.collect("SIGKILL of "+role, proc.UUID)
	}
}

// appPID is the process of the app called "app".
func (p *pods) appPID(uuid string) int {
	for _, proc := range harness.ProcessesOf(uuid) {
		if strings.Join(proc.Args, " ") == "sleep 1000" || strings.HasSuffix(strings.Join(proc.Args, " "), "/sleep 1000") {
			return proc.PID
		}
	}
	return 0
}
