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

// script is an app of a pod with several.
type script struct{ name, text string }

// several are the arguments of rkt run for several scripts.
func (p *pods) several(all ...script) []string {
	args := []string{"run", p.stage1, "--net=none"}
	for i, s := range all {
		if i > 0 {
			args = append(args, "---")
		}
		args = append(args, p.image, "--name="+s.name, "--exec=/bin/sh", "--", "-c", s.text)
	}
	return args
}

// TestPodExitStatus is the table of apps.md 13.4.
func TestPodExitStatus(t *testing.T) {
	p := newPods(t)
	for name, tt := range map[string]struct {
		apps   []script
		status int
		files  map[string]string // lines of rkt status
	}{
		"zero":   {apps: []script{{"a", "exit 0"}}, files: map[string]string{"a": "0"}},
		"one":    {apps: []script{{"a", "exit 1"}}, status: 1, files: map[string]string{"a": "1"}},
		"254":    {apps: []script{{"a", "exit 254"}}, status: 254, files: map[string]string{"a": "254"}},
		"255":    {apps: []script{{"a", "exit 255"}}, status: 255, files: map[string]string{"a": "255"}},
		"143":    {apps: []script{{"a", "exit 143"}}, status: 143, files: map[string]string{"a": "143"}},
		"kill":   {apps: []script{{"a", "kill -9 $$"}}, status: 9, files: map[string]string{"a": "9"}},
		"term":   {apps: []script{{"a", "kill -15 $$"}}, status: 15, files: map[string]string{"a": "15"}},
		"hangup": {apps: []script{{"a", "kill -1 $$"}}, status: 1, files: map[string]string{"a": "1"}},
		"pipe":   {apps: []script{{"a", "kill -13 $$"}}, status: 13, files: map[string]string{"a": "13"}},
		"segv":   {apps: []script{{"a", "kill -11 $$"}}, status: 11, files: map[string]string{"a": "11"}},
		"all succeed at different times": {
			apps: []script{{"a", "exit 0"}, {"b", "sleep 0.3"}}, files: map[string]string{"a": "0", "b": "0"},
		},
		"the first failure counts": {
			apps:   []script{{"a", "sleep 0.2"}, {"b", "sleep 0.3; exit 5"}, {"c", "sleep 3; exit 6"}},
			status: 5, files: map[string]string{"a": "0", "b": "5", "c": "0"},
		},
		"a failure ends the pod": {
			apps: []script{{"a", "exec sleep 1000"}, {"b", "sleep 0.5; exit 7"}}, status: 7, files: map[string]string{"a": "0", "b": "7"},
		},
		"a failure while stopping does not count": {
			apps:   []script{{"a", "trap 'exit 8' TERM; while :; do sleep 0.05; done"}, {"b", "sleep 0.3; exit 4"}},
			status: 4, files: map[string]string{"a": "0", "b": "4"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, uuid := p.runUUID(p.several(tt.apps...)...)
			if r.Status != tt.status || r.Took > 20*time.Second {
				t.Errorf("want %d: %s", tt.status, r)
			}
			s := p.Status(uuid)
			for app, want := range tt.files {
				if got := s["app-"+app]; got != want {
					t.Errorf("status of %s: %q, want %q", app, got, want)
				}
			}
			if s["state"] != "exited" {
				t.Errorf("state %q", s["state"])
			}
		})
	}
}

// TestPodExitRecord: the file beside the status tells a signal from a number.
func TestPodExitRecord(t *testing.T) {
	p := newPods(t)
	_, uuid := p.runUUID(p.several(script{"killed", "sleep 0.4; kill -9 $$"}, script{"stopped", "exec sleep 100"}, script{"fine", "exit 0"})...)
	if e, ok := p.exit(uuid, "killed"); !ok || e.Signal != 9 || e.Code != 0 || e.OOMKilled || e.FinishedAt.Before(e.StartedAt) || time.Since(e.StartedAt) > time.Minute {
		t.Errorf("killed: %+v, %v", e, ok)
	}
	if e, ok := p.exit(uuid, "stopped"); !ok || e.Signal != 15 {
		t.Errorf("stopped by the end of the pod: %+v, %v", e, ok)
	}
	if e, ok := p.exit(uuid, "fine"); !ok || e.Signal != 0 || e.Code != 0 {
		t.Errorf("fine: %+v, %v", e, ok)
	}
}

// TestPodCannotExecute: programs that are not there or are not for this machine.
func TestPodCannotExecute(t *testing.T) {
	p := newPods(t)
	elf := func(machine byte) string {
		body, err := os.ReadFile(harness.BusyboxPath(t))
		if err != nil {
			t.Fatal(err)
		}
		return string(body[:18]) + string([]byte{machine, 0}) + string(body[20:4096])
	}
	entries := append(harness.BusyboxEntries(t),
		harness.File("bin/script", 0o755, "#!/no/interpreter -x\n"),
		harness.File("bin/other", 0o755, elf(0xf3)), // RISC-V
		harness.File("bin/garbage", 0o755, "\x00\x01\x02"),
		harness.File("bin/plain", 0o644, "#!/bin/sh\n"),
		harness.File("bin/dynamic", 0o755, dynamicProgram(t)),
		harness.Dir("bin/dir", 0o755),
	)
	image := p.Fetch(harness.ACI(t, harness.Manifest("example.com/broken", "1", map[string]any{}), entries))
	for name, tt := range map[string]struct {
		exec   string
		status int
		want   string
	}{
		"missing":                {"/not/there", 203, `Error: Unable to open "/not/there": No such file or directory`},
		"missing interpreter":    {"/bin/script", 203, `/no/interpreter`},
		"missing dynamic linker": {"/bin/dynamic", 203, `ld-`},
		"another machine's":      {"/bin/other", 203, `/bin/other`},
		"garbage":                {"/bin/garbage", 203, `/bin/garbage`},
		"not executable":         {"/bin/plain", 203, `/bin/plain`},
		"a directory":            {"/bin/dir", 203, `/bin/dir`},
		"bare name":              {"nothing", 254, `unable to find "nothing" in `},
	} {
		t.Run(name, func(t *testing.T) {
			r, uuid := p.runUUID(p.program(image, []string{"--exec=" + tt.exec})...)
			if r.Status != tt.status || !strings.Contains(r.Stdout+r.Stderr, tt.want) {
				t.Errorf("want status %d and %q: %s", tt.status, tt.want, r)
			}
			if got := p.Status(uuid)["app-app"]; tt.status == 203 && got != "203" {
				t.Errorf("status file %q", got)
			}
		})
	}
}

// dynamicProgram is a program that needs a dynamic linker the image has not.
func dynamicProgram(t *testing.T) string {
	t.Helper()
	body, err := os.ReadFile("/bin/ls")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestPodStartFails: everything that keeps an app from starting has one message
// and an exit status that is not the app's.
func TestPodStartFails(t *testing.T) {
	p := newPods(t)
	p.refused(254, `user not found`, p.shell("id", "--user=nobody-here")...)
	p.refused(254, `group not found`, p.shell("id", "--group=nobody-here")...)
	p.refused(254, `can't change to working directory "/not/there"`, p.shell("id", "--working-dir=/not/there")...)
	missing := filepath.Join(t.TempDir(), "missing")
	r := p.refused(1, "Failed to stat "+missing+": No such file or directory",
		p.shell("id", "--volume=v,kind=host,source="+missing, "--mount=volume=v,target=/v")...)
	if strings.Contains(r.Stdout, "uid=") {
		t.Errorf("the app ran: %s", r)
	}
	handlers := func(exec ...string) string {
		return p.Fetch(harness.Busybox(t, map[string]any{
			"exec": []string{"/bin/echo", "main"}, "eventHandlers": []map[string]any{{"name": "pre-start", "exec": exec}},
		}))
	}
	for name, image := range map[string]string{"fails": handlers("/bin/false"), "missing": handlers("/not/there")} {
		r := p.Run(p.program(image, nil)...)
		if r.Status == 0 || r.Signal != 0 || strings.Contains(r.Stdout, "main") {
			t.Errorf("pre-start that %s: %s", name, r)
		}
	}
}

// TestPodStop: rkt stop, and signals to rkt run, end the pod in order.
func TestPodStop(t *testing.T) {
	p := newPods(t)
	for name, tt := range map[string]struct {
		stop   func(proc *harness.Proc)
		script string
	}{
		"rkt stop": {func(proc *harness.Proc) { p.OK("stop", proc.UUID) }, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"},
		"TERM":     {func(proc *harness.Proc) { proc.Signal(syscall.SIGTERM) }, "echo ready; exec sleep 100"},
		"INT":      {func(proc *harness.Proc) { proc.Signal(syscall.SIGINT) }, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"},
	} {
		t.Run(name, func(t *testing.T) {
			proc := p.start(p.shell(tt.script)...)
			began := time.Now()
			tt.stop(proc)
			r := proc.Wait()
			if r.Status != 0 || time.Since(began) > 10*time.Second {
				t.Errorf("%s", r)
			}
			if name == "INT" && !strings.Contains(r.Stdout, "bye") {
				t.Errorf("what the app printed while it ended is lost: %s", r)
			}
			p.OK("status", "--wait=10s", proc.UUID)
			if s := p.Status(proc.UUID); s["state"] != "exited" || s["app-app"] != "0" {
				t.Errorf("%v", s)
			}
			if out := p.OK("stop", proc.UUID); out != `pod "`+proc.UUID+`" is already stopped`+"\n" {
				t.Errorf("stop of an exited pod prints %q", out)
			}
		})
	}
}

// TestPodStopForce: the app ignores everything, the pod ends at once.
func TestPodStopForce(t *testing.T) {
	p := newPods(t)
	proc := p.start(p.shell("trap '' TERM; echo ready; while :; do sleep 0.1; done")...)
	p.OK("stop", "--force", proc.UUID)
	if r := proc.Wait(); r.Signal != syscall.SIGKILL {
		t.Errorf("want death by signal 9: %s", r)
	}
	p.gone(proc.UUID)
	if s := p.Status(proc.UUID); s["state"] != "exited" || s["app-app"] != "" {
		t.Errorf("%v", s)
	}
	p.OK("rm", proc.UUID)
}

// TestPodSupervisorKilled: without its supervisor nothing of a pod lives on.
func TestPodSupervisorKilled(t *testing.T) {
	p := newPods(t)
	proc := p.start(p.several(script{"a", "setsid sleep 1000 & echo ready; exec sleep 1000"}, script{"b", "exec sleep 1000"})...)
	proc.Signal(syscall.SIGKILL)
	proc.Wait()
	p.gone(proc.UUID)
	if s := p.Status(proc.UUID); s["state"] != "exited" {
		t.Errorf("%v", s)
	}
	if r := p.Run("gc", "--grace-period=0s"); r.Status != 0 {
		t.Errorf("%s", r)
	}
	p.CheckLeaks([]string{proc.UUID})
}

// gone waits until no process of a pod is left.
func (p *pods) gone(uuid string) {
	p.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := podProcesses(uuid)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Errorf("processes of the pod live on: %v", left)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// podProcesses lists the processes in cgroups of a pod.
func podProcesses(uuid string) (all []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		group, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if strings.Contains(string(group), uuid[:8]) {
			cmd, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			all = append(all, e.Name()+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return all
}

// TestPodHandlers: order, identity and walls of event handlers.
func TestPodHandlers(t *testing.T) {
	p := newPods(t)
	say := func(what string) []string {
		return []string{"/bin/sh", "-c", "echo " + what + " $(id -u) $(id -g) $AC_APP_NAME $VAR $(pwd) $(grep Seccomp: /proc/self/status | cut -f2) $(cut -d/ -f2- /proc/self/cgroup | grep -c app.service)"}
	}
	image := p.Fetch(harness.Busybox(t, map[string]any{
		"exec": say("main"), "user": "1000", "group": "1000", "workingDirectory": "/home", "environment": []map[string]string{{"name": "VAR", "value": "x"}},
		"eventHandlers": []map[string]any{{"name": "pre-start", "exec": say("pre")}, {"name": "post-stop", "exec": say("post")}},
	}))
	r := p.Run(p.program(image, nil)...)
	got := strings.Split(strings.TrimSpace(harness.AppOutput(r.Stdout, "app")), "\n")
	if r.Status != 0 || len(got) != 3 {
		t.Fatalf("%s", r)
	}
	for i, want := range []string{"pre 0 0 app x /home 2 ", "main 1000 1000 app x /home 2 ", "post 0 0 app x /home 2 "} {
		if !strings.HasPrefix(got[i], want) || strings.HasSuffix(got[i], " 0") {
			t.Errorf("line %d is %q, want %q and cgroups of the app", i, got[i], want)
		}
	}
	failing := p.Fetch(harness.Busybox(t, map[string]any{
		"exec": []string{"/bin/sh", "-c", "exit 6"}, "eventHandlers": []map[string]any{{"name": "post-stop", "exec": []string{"/bin/echo", "after the end"}}},
	}))
	r = p.Run(p.program(failing, nil)...)
	if r.Status != 6 || harness.AppOutput(r.Stdout, "app") != "after the end\n" {
		t.Errorf("post-stop of an app that fails: %s", r)
	}
}

// TestPodPrepared: prepare, then run-prepared.
func TestPodPrepared(t *testing.T) {
	p := newPods(t)
	uuid := strings.TrimSpace(p.OK("prepare", p.stage1, p.image, "--name=app", "--exec=/bin/sh", "--", "-c", "echo hello; exit 3"))
	if s := p.Status(uuid); s["state"] != "prepared" {
		t.Errorf("%v", s)
	}
	r := p.Run("run-prepared", "--net=none", uuid)
	if r.Status != 3 || harness.AppOutput(r.Stdout, "app") != "hello\n" {
		t.Errorf("%s", r)
	}
	p.Fail(254, `pod "`+uuid+`" is not prepared`, "run-prepared", uuid)
}

// TestPodStatus: what others see of a running pod.
func TestPodStatus(t *testing.T) {
	p := newPods(t)
	proc := p.start(p.several(script{"a", "echo ready; exec sleep 1000"}, script{"b", "exec sleep 1000"})...)
	p.OK("status", "--wait-ready=10s", proc.UUID)
	s := p.Status(proc.UUID)
	if s["state"] != "running" || s["exited"] != "false" || s["started"] == "" {
		t.Errorf("%v", s)
	}
	if comm, err := os.ReadFile("/proc/" + s["pid"] + "/comm"); err != nil || string(comm) != "systemd\n" {
		t.Errorf("pid=%s is %q, %v", s["pid"], comm, err)
	}
	list := p.OK("list", "--no-legend", "--full")
	for _, want := range []string{proc.UUID, "a\t", "b\t", "running"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in %s", want, list)
		}
	}
	if got := harness.Cgroups([]string{proc.UUID}); len(got) == 0 {
		t.Errorf("no cgroup has the pod's short UUID in its path")
	}
	p.Fail(254, "is currently running", "rm", proc.UUID)
	p.OK("stop", proc.UUID)
	proc.Wait()
	if got := harness.Cgroups([]string{proc.UUID}); len(got) == 0 {
		t.Errorf("the cgroups are gone before gc")
	}
	p.OK("rm", proc.UUID)
	if got := harness.Cgroups([]string{proc.UUID}); len(got) > 0 {
		t.Errorf("cgroups after rm: %v", got)
	}
}
