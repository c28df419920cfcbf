// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/tests/harness"
)

// kind says what host the guest is.
var kind = os.Getenv("RKT_VM")

func TestMain(m *testing.M) {
	if kind == "" {
		_, _ = fmt.Fprintln(os.Stderr, "these checks change the machine they run on: run \"go test -tags vm ./tests/vm/\"")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const mount = "/sys/fs/cgroup"

// only leaves a test to hosts of one kind.
func only(t *testing.T, want string) {
	t.Helper()
	if kind != want {
		t.Skip("for another host")
	}
}

// host is the guest with its one data directory.
type host struct {
	*harness.Host
	t     *testing.T
	image string // a busybox
	dir   string // for files
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{Host: harness.NewHost(t), t: t, dir: t.TempDir()}
	h.Stage1 = harness.Coreos
	h.image = h.Fetch(harness.Busybox(t, nil))
	return h
}

// check runs a check on the same data directory.
func (h *host) check(name string, fn func(h *host)) {
	h.t.Run(name, func(t *testing.T) {
		inner := *h.Host
		inner.T = t
		fn(&host{Host: &inner, t: t, image: h.image, dir: t.TempDir()})
	})
}

// one are the arguments of rkt run for a shell script as the one app of a pod.
func (h *host) one(script string, flags ...string) []string {
	return h.app(nil, flags, "/bin/sh", "-c", script)
}

// app are the arguments of rkt run for a command as the one app of a pod.
func (h *host) app(pod, flags []string, command string, args ...string) []string {
	all := append([]string{"run", "--net=none", "--uuid-file-save=" + h.dir + "/uuid"}, pod...)
	all = append(all, h.image, "--name=app")
	return append(append(append(all, flags...), "--exec="+command, "--"), args...)
}

func (h *host) uuid() string {
	h.t.Helper()
	b, err := os.ReadFile(h.dir + "/uuid")
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// start starts a pod and waits until an app prints "ready".
func (h *host) start(args ...string) *harness.Proc {
	h.t.Helper()
	p := h.Start(args...)
	p.WaitContains("ready")
	p.UUID = h.uuid()
	return p
}

// runIn runs rkt in a cgroup, whose only process it is at its start.
func (h *host) runIn(group string, args ...string) harness.Result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), harness.Timeout)
	defer cancel()
	cmd := h.Cmd(ctx, args...)
	inGroup(cmd, group)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second
	_ = cmd.Run()
	if cmd.ProcessState == nil {
		h.t.Fatalf("rkt did not start in %s: %s", group, errOut.String())
	}
	r := harness.Result{Args: args, Stdout: out.String(), Stderr: errOut.String(), Status: cmd.ProcessState.ExitCode()}
	h.t.Logf("%s", r)
	return r
}

// inGroup makes a command start in a cgroup of v2 or in several of v1.
func inGroup(cmd *exec.Cmd, groups ...string) {
	script := ""
	for _, g := range groups {
		script += "echo $$ >" + g + "/cgroup.procs && "
	}
	cmd.Args = append([]string{"sh", "-c", script + `exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
}

// exit is the record of how an app has ended.
func (h *host) exit(uuid, app string) poddir.AppExit {
	h.t.Helper()
	found, _ := filepath.Glob(filepath.Join(h.PodDir(uuid), "overlay", "*", "upper", poddir.AppExitFile(app)))
	if len(found) != 1 {
		h.t.Fatalf("records of app %s: %v", app, found)
	}
	e, err := poddir.ParseAppExit([]byte(read(h.t, found[0])))
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// subcgroup is what the pod says its cgroup is.
func (h *host) subcgroup(uuid string) string {
	h.t.Helper()
	return read(h.t, filepath.Join(h.PodDir(uuid), "subcgroup"))
}

// collect removes all pods and wants nothing left of them.
func (h *host) collect() {
	h.t.Helper()
	uuids := h.Pods()
	h.OK("gc", "--grace-period=0s")
	if left := h.Pods(); len(left) > 0 {
		h.t.Errorf("pods left after gc: %v", left)
	}
	h.CheckLeaks(uuids)
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// control reads a control file of an app, in whichever hierarchy has it.
func (h *host) control(uuid, app, file string) string {
	h.t.Helper()
	for _, g := range harness.Cgroups([]string{uuid}) {
		for _, middle := range []string{"payload/system.slice", "system.slice"} {
			if b, err := os.ReadFile(filepath.Join(g, middle, app+".service", file)); err == nil && len(b) > 0 {
				return strings.TrimSuffix(string(b), "\n")
			}
		}
	}
	h.t.Errorf("app %s has no %s", app, file)
	return ""
}

// populated counts the processes in the cgroups of a pod.
func (h *host) populated(uuid string) (n int) {
	for _, g := range harness.Cgroups([]string{uuid}) {
		_ = filepath.WalkDir(g, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				n += len(strings.Fields(read(h.t, p)))
			}
			return nil
		})
	}
	return n
}

func memoryMax() string {
	if kind == "legacy" {
		return "memory.limit_in_bytes"
	}
	return "memory.max"
}

// value reads "key n" from what a flat keyed file says.
func value(t *testing.T, text, key string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if text, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %q", key, text)
	return 0
}

// makeGroup makes a cgroup and removes it at the end.
func makeGroup(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Errorf("a cgroup that rkt was started in cannot be removed: %v", err)
		}
	})
	return dir
}

// patience is for a guest whose processor is emulated by one that is busy.
const patience = 5 * time.Minute

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

// programs counts the processes of the guest that run a command line.
func programs(words ...string) (n int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err == nil && string(b) == strings.Join(words, "\x00")+"\x00" {
			n++
		}
	}
	return n
}
