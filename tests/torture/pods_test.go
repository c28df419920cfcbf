// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// moment is how long a pod may take to be gone after somebody of it was killed.
const moment = 5 * time.Second

// pods is a host with pods under systemd-nspawn.
type pods struct {
	*harness.Host
	t     *testing.T
	image string // ID of a busybox
}

// newPods is a host with the rkt that users have.
func newPods(t *testing.T) *pods {
	t.Helper()
	testenv.NeedsRoot(t)
	return fillPods(t, harness.NewHost(t))
}

// newFailpointPods is a host with the rkt, and the stage1, that have failpoints.
func newFailpointPods(t *testing.T) *pods {
	t.Helper()
	testenv.NeedsRoot(t)
	p := fillPods(t, newHost(t))
	p.warm()
	return p
}

func fillPods(t *testing.T, h *harness.Host) *pods {
	t.Helper()
	h.Stage1 = harness.Coreos
	return &pods{Host: h, t: t, image: h.Fetch(harness.Busybox(t, nil))}
}

// app are the arguments that make a shell script an app called "app".
func (p *pods) app(script string) []string {
	return []string{p.image, "--name=app", "--exec=/bin/sh", "--", "-c", script}
}

// run are the arguments of rkt run for it.
func (p *pods) run(script string, flags ...string) []string {
	return append(append([]string{"run", "--net=none"}, flags...), p.app(script)...)
}

// said is what the app called "app" has printed.
func said(r harness.Result) string { return harness.AppOutput(r.Stdout, "app") }

// errorLines are the lines of standard error that tell of something gone wrong.
func errorLines(r harness.Result) (lines []string) {
	for line := range strings.Lines(r.Stderr) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.Contains(line, "will use default gid"), strings.HasPrefix(line, "hint: "),
			strings.HasPrefix(line, "gc: moving "), line == "networking: networking namespace with loopback only":
		default:
			lines = append(lines, line)
		}
	}
	return lines
}

// ended wants a pod to be over within a moment: no process of it runs, and rkt
// does not call it running.
func (p *pods) ended(uuid, after string) {
	p.t.Helper()
	var left []harness.Process
	if !harness.WaitFor(moment, func() bool { left = harness.ProcessesOf(uuid); return len(left) == 0 }) {
		p.t.Errorf("pod %s: after %s and %s it still has %v", uuid, after, moment, left)
		return
	}
	// The lock goes with the last thread, after the process is a zombie.
	if !harness.WaitFor(moment, func() bool { return p.state(uuid) != "running" }) {
		p.t.Errorf("pod %s: after %s it has no process, but is running", uuid, after)
	}
}

// state is the state of a pod, "" for one that rkt does not know.
func (p *pods) state(uuid string) string {
	for line := range strings.Lines(p.Run("status", uuid).Stdout) {
		if state, ok := strings.CutPrefix(strings.TrimSpace(line), "state="); ok {
			return state
		}
	}
	return ""
}

// collect runs gc, at most twice, and wants nothing to be left of the pods.
func (p *pods) collect(after string, uuids ...string) {
	p.t.Helper()
	const most = 2
	for range most {
		r := p.Run("gc", "--grace-period=0s", "--expire-prepared=0s")
		if lines := errorLines(r); r.Status != 0 || len(lines) > 0 {
			p.t.Errorf("gc after %s: %s", after, r)
		}
		if len(p.Pods()) == 0 {
			break
		}
	}
	for _, uuid := range uuids {
		if left := append(p.PodTraces(uuid), p.PodFiles(uuid)...); len(left) > 0 {
			p.t.Errorf("after %s and gc there is %q", after, left)
		}
	}
	if left := p.Pods(); len(left) > 0 {
		p.t.Errorf("after %s and gc there are the pods %v", after, left)
	}
	if left, _ := filepath.Glob(filepath.Join(p.Dir, "tmp", "*")); len(left) > 0 {
		p.t.Errorf("after %s and gc there is %v", after, left)
	}
}

// start starts a command that makes a pod and waits until the pod is known; if
// the command has ended before, the UUID is "".
func (p *pods) start(args ...string) *harness.Proc {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "uuid")
	at := 1
	if args[0] == "app" {
		at = 2
	}
	proc := p.Start(append(append(append([]string{}, args[:at]...), "--uuid-file-save="+file), args[at:]...)...)
	harness.WaitFor(harness.Timeout, func() bool {
		data, _ := os.ReadFile(file)
		proc.UUID = string(data)
		return len(data) > 0 || proc.Ended()
	})
	return proc
}

// ready waits until a mutable pod takes apps; false if it has ended instead.
func (p *pods) ready(proc *harness.Proc) bool {
	p.t.Helper()
	return p.Run("status", "--wait-ready=60s", proc.UUID).Status == 0 && !proc.Ended()
}

// long tells whether there is time.
func long() bool { return os.Getenv("TORTURE") == "long" }

// pick is the number for the short form, or the long one.
func pick(short, much int) int {
	if long() {
		return much
	}
	return short
}

// descriptors is how many a process has open.
func descriptors(pid int) int {
	entries, _ := os.ReadDir(procFile(pid, "fd"))
	return len(entries)
}

// procFile is a file of proc(5).
func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// isWhiteout tells whether a file of an overlay's upper layer hides one below.
func isWhiteout(name string) bool {
	var st unix.Stat_t
	return unix.Lstat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
