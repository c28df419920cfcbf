// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// Failpoints are armed by variables of the environment.
const (
	envArmed = "RKT_FAILPOINT"
	envLog   = "RKT_FAILPOINT_LOG"
)

// podScenario is one command on pods under systemd-nspawn. Its host serves
// for all failpoints, one after the other.
type podScenario struct {
	name string
	// begin brings the host to the state in which do runs.
	begin func(p *pods)
	// do is the command, with the given variables in its environment.
	do func(p *pods, env ...string) harness.Result
	// check looks at the pods afterwards, cleans up, and wants nothing to be left.
	check func(p *pods, r harness.Result, after string)
	// end comes after the last failpoint.
	end func(p *pods)
	// inside tells that programs inside the pod reach failpoints of their own.
	inside bool
}

// command is a scenario's do for one command.
func command(args func(p *pods) []string) func(*pods, ...string) harness.Result {
	return func(p *pods, env ...string) harness.Result {
		p.Env = env
		defer func() { p.Env = nil }()
		return p.Run(args(p)...)
	}
}

const script = "echo first; echo second"

// whole wants a pod that says it was fine to have been fine.
func whole(p *pods, r harness.Result, after string) {
	p.t.Helper()
	if r.Status == 0 && r.Signal == 0 && said(r) != "first\nsecond\n" {
		p.t.Errorf("after %s the app said %q: %s", after, said(r), r)
	}
}

// allEnded is the check of commands whose pods end: of themselves, or with the
// command.
func allEnded(p *pods, _ harness.Result, after string) {
	p.t.Helper()
	uuids := p.Pods()
	for _, uuid := range uuids {
		p.ended(uuid, after)
	}
	p.OK("list")
	p.collect(after, uuids...)
}

func podScenarios() []podScenario {
	return []podScenario{
		{
			name: "run", inside: true,
			do: command(func(p *pods) []string { return p.run(script, "--volume=v,kind=empty") }),
			check: func(p *pods, r harness.Result, after string) {
				whole(p, r, after)
				allEnded(p, r, after)
			},
		},
		{
			name: "run-users",
			do:   command(func(p *pods) []string { return p.run(script, "--private-users", "--no-overlay") }),
			check: func(p *pods, r harness.Result, after string) {
				whole(p, r, after)
				allEnded(p, r, after)
			},
		},
		{
			name:  "prepare",
			do:    command(func(p *pods) []string { return append([]string{"prepare", "--private-users"}, p.app(script)...) }),
			check: allEnded,
		},
		{
			name:  "run-prepared",
			begin: func(p *pods) { p.OK(append([]string{"prepare"}, p.app(script)...)...) },
			do:    command(func(p *pods) []string { return append([]string{"run-prepared", "--net=none"}, p.Pods()...) }),
			check: func(p *pods, r harness.Result, after string) {
				whole(p, r, after)
				allEnded(p, r, after)
			},
		},
		sandboxScenario(),
		stopScenario("stop"),
		stopScenario("stop-force", "--force"),
		{
			name:  "rm",
			begin: func(p *pods) { p.OK(p.run(script)...) },
			do:    command(func(p *pods) []string { return append([]string{"rm"}, p.Pods()...) }),
			check: collected,
		},
		{
			name: "gc", // of a pod that was killed with all that it had
			begin: func(p *pods) {
				proc := p.start(p.run("exec sleep 1000")...)
				p.running(proc)
				proc.Killed()
				p.ended(proc.UUID, "SIGKILL")
			},
			do:    command(func(*pods) []string { return []string{"gc", "--grace-period=0s"} }),
			check: collected,
		},
		appScenario("app-add", func(*pods, string) {}, func(p *pods, uuid string) []string {
			return []string{"app", "add", uuid, p.image, "--name=app", "--mnt-volume=name=v,kind=empty,target=/v", "--exec=/bin/sleep", "--", "1000"}
		}, "already exists", "multiple apps"),
		appScenario("app-start", (*pods).addApp, func(_ *pods, uuid string) []string {
			return []string{"app", "start", uuid, "--app=app"}
		}, "is running already"),
		appScenario("app-stop", (*pods).startApp, func(_ *pods, uuid string) []string {
			return []string{"app", "stop", uuid, "--app=app"}
		}, "is not running"),
		appScenario("app-rm", (*pods).startApp, func(_ *pods, uuid string) []string {
			return []string{"app", "rm", uuid, "--app=app"}
		}, "nonexistent app"),
	}
}

// collected is the check of commands that delete pods. The specification has
// pods deleted although stage1's gc program fails (pods.md 8.3): where that was
// killed cgroups stay, which have no processes.
func collected(p *pods, r harness.Result, after string) {
	p.t.Helper()
	if strings.Contains(r.Stderr, "problem performing stage1 GC") {
		for _, uuid := range uuidPattern.FindAllString(r.Stderr, -1) {
			for _, dir := range harness.Cgroups([]string{uuid}) {
				harness.Command(p.t, "find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";")
			}
		}
	}
	p.OK("list")
	allEnded(p, r, after)
}

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// running waits until the app of a pod has started.
func (p *pods) running(proc *harness.Proc) {
	p.t.Helper()
	if !harness.WaitFor(harness.Timeout, func() bool {
		found, _ := filepath.Glob(filepath.Join(p.PodDir(proc.UUID), "apps", "*.pid"))
		return len(found) > 0 || proc.Ended()
	}) || proc.Ended() {
		p.t.Fatalf("no app was started: %s", proc.Wait())
	}
}

func stopScenario(name string, flags ...string) podScenario {
	var proc *harness.Proc
	return podScenario{
		name: name,
		begin: func(p *pods) {
			proc = p.start(p.run("exec sleep 1000")...)
			p.running(proc)
		},
		do: command(func(*pods) []string { return append(append([]string{"stop"}, flags...), proc.UUID) }),
		check: func(p *pods, r harness.Result, after string) {
			end := proc.Wait() // the failure was after the request
			if again := p.Run(append(append([]string{"stop"}, flags...), proc.UUID)...); again.Status != 0 && !strings.Contains(again.Stderr, "no such process") {
				p.t.Errorf("after %s, again: %s", after, again)
			}
			if len(flags) == 0 && (end.Status != 0 || end.Signal != 0) || len(flags) > 0 && end.Signal != syscall.SIGKILL {
				p.t.Errorf("after %s the pod ended with %s", after, end)
			}
			allEnded(p, r, after)
		},
	}
}

// sandboxScenario starts a mutable pod whose supervisor has the failpoint
// armed, lets an app run in it, and stops it.
func sandboxScenario() podScenario {
	return podScenario{
		name: "app-sandbox",
		do: func(p *pods, env ...string) harness.Result {
			p.Env = env
			proc := p.start("app", "sandbox", "--net=none")
			p.Env = nil
			if proc.UUID != "" && p.ready(proc) {
				p.Run("app", "add", proc.UUID, p.image, "--name=app", "--exec=/bin/sh", "--", "-c", script+"; exec sleep 1000")
				if p.Run("app", "start", proc.UUID, "--app=app").Status == 0 {
					harness.WaitFor(moment, func() bool { return proc.Said("]: second") || proc.Ended() })
				}
				p.Run("stop", proc.UUID)
			}
			return proc.Wait()
		},
		check: allEnded,
	}
}

// appScenario is a command on an app of a mutable pod, which goes on whatever
// happens to the command. Repeated, the command succeeds or says that it has
// been done already.
func appScenario(name string, begin func(*pods, string), args func(p *pods, uuid string) []string, done ...string) podScenario {
	var sandbox *harness.Proc
	var other string // PID 1 of the pod: it stays the same
	s := podScenario{
		name: name,
		begin: func(p *pods) {
			if sandbox == nil || sandbox.Ended() {
				sandbox = p.start("app", "sandbox", "--net=none")
				if !p.ready(sandbox) {
					p.t.Fatalf("no sandbox: %s", sandbox.Wait())
				}
				other = p.Status(sandbox.UUID)["pid"]
			}
			begin(p, sandbox.UUID)
		},
		do: command(func(p *pods) []string { return args(p, sandbox.UUID) }),
		check: func(p *pods, r harness.Result, after string) {
			uuid := sandbox.UUID
			if got := p.Status(uuid); got["state"] != "running" || got["pid"] != other || sandbox.Ended() {
				p.t.Fatalf("after %s the sandbox is %v, PID 1 was %s", after, got, other)
			}
			p.OK("app", "list", uuid)
			again := p.Run(args(p, uuid)...)
			if again.Status != 0 && !slices.ContainsFunc(done, func(text string) bool { return strings.Contains(again.Stderr, text) }) {
				p.t.Errorf("after %s, again: %s\nat first: %s", after, again, r)
			}
			if rm := p.Run("app", "rm", uuid, "--app=app"); rm.Status != 0 && !strings.Contains(rm.Stderr, "nonexistent app") {
				p.t.Errorf("after %s: %s", after, rm)
			}
			p.noApps(uuid, after)
		},
		end: func(p *pods) {
			if sandbox == nil {
				return
			}
			p.OK("stop", sandbox.UUID)
			if r := sandbox.Wait(); r.Status != 0 {
				p.t.Errorf("the sandbox: %s", r)
			}
			allEnded(p, harness.Result{}, "all failpoints")
		},
	}
	return s
}

func (p *pods) addApp(uuid string) {
	p.t.Helper()
	p.OK("app", "add", uuid, p.image, "--name=app", "--exec=/bin/sleep", "--", "1000")
}

func (p *pods) startApp(uuid string) {
	p.t.Helper()
	p.addApp(uuid)
	p.OK("app", "start", uuid, "--app=app")
}

// noApps wants nothing to be left of the apps of a mutable pod that were removed.
func (p *pods) noApps(uuid, after string) {
	p.t.Helper()
	if out := p.OK("app", "list", "--no-legend", uuid); strings.TrimSpace(out) != "" {
		p.t.Errorf("after %s and app rm there is %s", after, out)
	}
	dir := p.PodDir(uuid)
	var left []string
	for _, pattern := range []string{
		"appsinfo/*", "apps/*", "sharedVolumes/*", "overlay/*/upper/opt/stage2/*", "overlay/*/upper/rkt/status/*", "overlay/*/upper/rkt/apps/*",
		"overlay/*/upper/rkt/env/*", "overlay/*/upper/rkt/iottymux/*", "overlay/*/upper/usr/lib/systemd/system/app.service",
	} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		left = append(left, slices.DeleteFunc(names, isWhiteout)...)
	}
	table, err := os.ReadFile(procFile(atoi(p.t, p.Status(uuid)["pid"]), "mountinfo"))
	if err != nil {
		p.t.Errorf("%v", err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, "/opt/stage2/") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	for _, proc := range harness.ProcessesOf(uuid) {
		if strings.Contains(strings.Join(proc.Args, " "), "/bin/sleep 1000") {
			left = append(left, proc.String())
		}
	}
	if len(left) > 0 {
		p.t.Errorf("after %s and app rm there is %q", after, left)
	}
}

// podPoints runs the scenario's command once and returns the failpoints that it
// reaches, each once, and those inside the pod.
func podPoints(t *testing.T, s podScenario) []string {
	t.Helper()
	p := newFailpointPods(t)
	log := filepath.Join(t.TempDir(), "points")
	if s.begin != nil {
		s.begin(p)
	}
	r := s.do(p, envLog+"="+log)
	s.check(p, r, "nothing")
	if s.end != nil {
		s.end(p)
	}
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("%s reaches no failpoint: %v", s.name, err)
	}
	names := strings.Fields(string(raw))
	if !slices.ContainsFunc(names, func(n string) bool {
		return strings.HasPrefix(n, "stage1") || strings.HasPrefix(n, "app-") || strings.HasPrefix(n, "stop")
	}) && s.name != "prepare" {
		t.Errorf("%s reaches no failpoint of stage1: has rkt one with failpoints inside? %v", s.name, names)
	}
	if s.inside {
		names = append(names, insidePoints(t)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// insidePoints are the failpoints of programs inside a pod, which have no file
// to name them in: taken from the sources.
func insidePoints(t *testing.T) (names []string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(harness.Checkout(t), "stage1", "internal", "launch", "*.go"))
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`failpoint\.Hit\("([a-z.-]+)"\)`).FindAllStringSubmatch(string(src), -1) {
			names = append(names, m[1])
		}
	}
	if len(names) == 0 {
		t.Fatalf("no failpoint in stage1/internal/launch")
	}
	return names
}

// TestEveryFailpointOfPods kills each command on pods under systemd-nspawn at
// each of its steps, in rkt, in the supervisor, in the programs of stage1 and
// inside the pod, and lets each step fail. Afterwards no process is left and gc
// removes everything. The short form lets a step fail in the first command that
// has it, and kills the others there only at steps of their own.
func TestEveryFailpointOfPods(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range podScenarios() {
		points := podPoints(t, s)
		if !long() {
			points = slices.DeleteFunc(points, func(name string) bool { return seen[name] })
		}
		for _, name := range points {
			seen[name] = true
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newFailpointPods(t)
			for _, point := range points {
				for _, action := range []string{"kill", "enospc", "eio"} {
					podCrash(t, p, s, point, action)
				}
			}
			if s.end != nil {
				s.end(p)
			}
		})
	}
	t.Logf("%d different failpoints", len(seen))
}

func podCrash(t *testing.T, p *pods, s podScenario, point, action string) {
	t.Helper()
	if s.begin != nil {
		s.begin(p)
	}
	after := point + "=" + action
	r := s.do(p, envArmed+"="+after)
	if action == "kill" {
		if !wasKilled(r) {
			t.Errorf("%s: nobody was killed: %s", after, r)
		}
	} else {
		failed(t, r, point, action)
	}
	s.check(p, r, after)
}

// wasKilled tells whether the command, a program of stage1 that it called, or
// the start of the app was killed.
func wasKilled(r harness.Result) bool {
	return r.Signal == syscall.SIGKILL || strings.Contains(r.Stderr, "signal: killed") || r.Status == int(syscall.SIGKILL)
}

// failed wants the command, or the app in it, to say once what has failed, and
// to exit as a failed command of rkt does, or to go on with a warning.
func failed(t *testing.T, r harness.Result, point, action string) {
	t.Helper()
	const failedSetUp, failedRkt = 1, 254
	cause := map[string]string{"enospc": "no space left on device", "eio": "input/output error"}[action]
	named := 0
	for line := range strings.Lines(r.Stderr + r.Stdout) {
		if strings.Contains(line, "failpoint "+point+": "+cause) {
			named++
		}
	}
	if r.Signal != 0 || !slices.Contains([]int{0, failedSetUp, failedRkt}, r.Status) || named != 1 {
		t.Errorf("%s=%s: the failure is named %d times: %s", point, action, named, r)
	}
}
