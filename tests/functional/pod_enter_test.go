// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestPodEnter: a command in a pod is held to what the app is held to.
func TestPodEnter(t *testing.T) {
	p := newPods(t)
	image := p.Fetch(harness.Busybox(t, map[string]any{
		"environment": []map[string]string{{"name": "APP_VAR", "value": "two\nlines"}, {"name": "TERM", "value": "of-the-image"}}, "user": "1000", "group": "50", "workingDirectory": "/home",
	}))
	look := "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status; cut -d: -f3 /proc/self/cgroup | sort -u; cat /proc/self/oom_score_adj; " +
		"for n in mnt net ipc uts pid user cgroup; do readlink /proc/self/ns/$n; done; umask; ulimit -n; ls /; cat /proc/self/mountinfo | wc -l"
	proc := p.start(p.program(image, []string{
		"--exec=/bin/sh", "--memory=64Mi", "--cpu=500m", "--oom-score-adj=77", "--caps-retain=CAP_KILL", "--supplementary-gids=7", "--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat",
	}, "-c", "("+look+") >/tmp/look; echo ready; exec sleep 1000")...)
	p.Env = []string{"TERM=xterm-test", "CALLER_ONLY=1", "LD_PRELOAD=/nonsense"}
	of := func(script string) string {
		t.Helper()
		return p.OK("enter", proc.UUID, "/bin/sh", "-c", script)
	}
	if app, entered := of("cat /tmp/look"), of(look); app != entered {
		t.Errorf("the app:\n%s\nentered:\n%s", app, entered)
	}
	env := of("tr '\\0' '|' </proc/self/environ; pwd")
	for _, want := range []string{"APP_VAR=two\nlines|", "TERM=xterm-test|", "AC_APP_NAME=app|", "container=rkt|"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in %q", want, env)
		}
	}
	if strings.Contains(env, "CALLER_ONLY") || strings.Contains(env, "RKT_") || strings.Contains(env, "LD_") {
		t.Errorf("the caller's environment leaks in: %q", env)
	}
	if !strings.HasSuffix(env, "/\n") {
		t.Errorf("working directory: %q", env)
	}
	if got := of("mkdir /tmp/x 2>&1; true"); !strings.Contains(got, "cross-device") {
		t.Errorf("the app's filter does not hold: %q", got)
	}
	if r := p.RunWith("from stdin\n", "enter", proc.UUID, "cat"); r.Status != 0 || r.Stdout != "from stdin\n" {
		t.Errorf("streams: %s", r)
	}
	if r := p.Run("enter", proc.UUID, "sh", "-c", "exit 9"); r.Status != 9 {
		t.Errorf("exit status: %s", r)
	}
	if r := p.Run("enter", proc.UUID, "sh", "-c", "kill -9 $$"); r.Signal != syscall.SIGKILL && r.Status != 137 && r.Status != 9 {
		t.Errorf("death by signal: %s", r)
	}
	p.Fail(254, `/bin/bash": No such file or directory`, "enter", proc.UUID)
	p.Fail(254, `/not/there": No such file or directory`, "enter", proc.UUID, "/not/there")
	p.Fail(254, "no-such-command", "enter", proc.UUID, "no-such-command")
	p.Env = nil
	if got := of("tr '\\0' '|' </proc/self/environ; true"); !strings.Contains(got, "TERM=") {
		t.Errorf("no TERM: %q", got)
	}
	p.OK("stop", proc.UUID)
	proc.Wait()
	p.Fail(254, "isn't currently running", "enter", proc.UUID, "/bin/true")
}

// TestPodEnterApp: which of several apps.
func TestPodEnterApp(t *testing.T) {
	p := newPods(t)
	proc := p.start(p.several(script{"one", "echo 1 >/which; exec sleep 1000"}, script{"two", "echo 2 >/which; echo ready; exec sleep 1000"})...)
	if got := p.OK("enter", "--app=two", proc.UUID, "cat", "/which"); got != "2\n" {
		t.Errorf("--app=two: %q", got)
	}
	if got := p.OK("enter", "--app=one", proc.UUID, "/bin/sh", "-c", "until cat /which 2>/dev/null; do sleep 0.05; done"); got != "1\n" {
		t.Errorf("--app=one: %q", got)
	}
	p.Fail(254, `specify app using "rkt enter --app= ..."`, "enter", proc.UUID, "/bin/true")
	p.Fail(254, "three", "enter", "--app=three", proc.UUID, "/bin/true")
	// processes that were entered go with the pod
	in := p.Start("enter", "--app=one", proc.UUID, "/bin/sh", "-c", "echo entered; while :; do sleep 1; done")
	in.WaitContains("entered")
	p.OK("stop", proc.UUID)
	if r := proc.Wait(); r.Status != 0 {
		t.Errorf("%s", r)
	}
	in.Wait()
	p.gone(proc.UUID)
}
