// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Timeout is how long any one command may take before it counts as hanging.
const Timeout = 10 * time.Minute

// Host is one data directory and the rkt that works on it.
type Host struct {
	T   T
	Bin string   // rkt
	Dir string   // data directory
	Env []string // added to the environment of every command

	// Global flags put before every command, besides the directories.
	Flags []string

	// Stage1 is the name of the stage1 image given to every command that makes
	// a pod and names none itself; "" leaves the choice to rkt.
	Stage1 string

	// NetNS is the network namespace (ip-netns(8)) that rkt runs in; "" is that of
	// the test.
	NetNS string

	etc string
}

// Stage1 images that are inside rkt.
const (
	Coreos = "coreos.com/rkt/stage1-coreos"
	Fly    = "coreos.com/rkt/stage1-fly"
)

// NewHost makes a Host below a temporary directory. When the test ends, all
// its pods are removed and whatever of them is left on the machine fails the
// test.
func NewHost(t T) *Host {
	t.Helper()
	return NewHostOn(t, filepath.Join(t.TempDir(), "data"))
}

// NewHostOn is NewHost with a given data directory.
func NewHostOn(t T, dir string) *Host {
	t.Helper()
	h := &Host{T: t, Bin: Program(t, "RKT_BIN", "rkt"), Dir: dir, Stage1: Fly, etc: filepath.Join(t.TempDir(), "etc")}
	h.Flags = []string{"--insecure-options=image"}
	hangup.Do(func() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) })
	t.Cleanup(func() { h.cleanUp() })
	return h
}

// hangup sees to it that programs under test are not started with SIGHUP
// ignored where the tests were, by nohup(1). stage1-fly leaves that to the app.
var hangup sync.Once

// Program finds a program under test: the environment names it, or it lies in
// build/bin of this checkout.
func Program(t T, env, name string) string {
	t.Helper()
	if p := os.Getenv(env); p != "" {
		return p
	}
	p := filepath.Join(Checkout(t), "build", "bin", name)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("no %s: run \"make build\" or set %s", name, env)
	}
	return p
}

// Checkout is the top directory of the source tree the test runs in.
func Checkout(t T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("%v", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatalf("not inside a checkout: no go.mod in the directories above")
	return ""
}

// Result is what a finished command left.
type Result struct {
	Args   []string
	Stdout string
	Stderr string
	Status int            // exit status, -1 after a signal
	Signal syscall.Signal // 0 unless killed by one
	Took   time.Duration
	RSS    int64 // peak resident set in bytes
}

// String shows the command and everything it said, for failure messages.
func (r Result) String() string {
	return fmt.Sprintf("rkt %s\nstatus %d signal %d after %s\nstdout: %s\nstderr: %s",
		strings.Join(r.Args, " "), r.Status, r.Signal, r.Took.Round(time.Millisecond), clip(r.Stdout), clip(r.Stderr))
}

func clip(s string) string {
	const most = 4000
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Cmd is a command of rkt on this host, not started.
func (h *Host) Cmd(ctx context.Context, args ...string) *exec.Cmd {
	global := []string{"--dir=" + h.Dir, "--local-config=" + h.etc + "/local", "--system-config=" + h.etc + "/system"}
	global = append(global, h.Flags...)
	words := append(append([]string{h.Bin}, global...), h.withStage1(args)...)
	if h.NetNS != "" {
		words = append([]string{"nsenter", "--net=/run/netns/" + h.NetNS}, words...)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), h.Env...)
	return cmd
}

// withStage1 puts the choice of the stage1 image behind the command.
func (h *Host) withStage1(args []string) []string {
	at := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if at >= 0 && at+1 < len(args) && args[at] == "app" {
		at++
	}
	chosen := slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--stage1-") })
	if h.Stage1 == "" || chosen || at < 0 || !slices.Contains([]string{"run", "prepare", "sandbox"}, args[at]) {
		return args
	}
	return slices.Insert(slices.Clone(args), at+1, "--stage1-name="+h.Stage1)
}

// LocalConfig is the host's --local-config directory.
func (h *Host) LocalConfig() string { return filepath.Join(h.etc, "local") }

// Run runs a command to its end, whatever that is.
func (h *Host) Run(args ...string) Result {
	h.T.Helper()
	return h.RunWith("", args...)
}

// RunWith is Run with a standard input.
func (h *Host) RunWith(stdin string, args ...string) Result {
	h.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	cmd := h.Cmd(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	cmd.WaitDelay = 5 * time.Second
	start := time.Now()
	if err := cmd.Start(); err != nil {
		h.T.Fatalf("rkt %s: %v", strings.Join(args, " "), err)
	}
	peak := WatchPeak(cmd)
	err := cmd.Wait()
	r := Result{Args: args, Stdout: out.String(), Stderr: errOut.String(), Took: time.Since(start), RSS: peak()}
	if ctx.Err() != nil {
		h.T.Fatalf("rkt %s: no end after %s\nstdout: %s\nstderr: %s", strings.Join(args, " "), Timeout, out.String(), errOut.String())
	}
	h.fill(&r, cmd, err)
	return r
}

func (h *Host) fill(r *Result, cmd *exec.Cmd, err error) {
	h.T.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.T.Fatalf("rkt %s: %v\nstderr: %s", strings.Join(r.Args, " "), err, r.Stderr)
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	r.Status = ws.ExitStatus()
	if ws.Signaled() {
		r.Signal = ws.Signal()
	}
}

// OK runs a command that has to succeed and returns its standard output.
func (h *Host) OK(args ...string) string {
	h.T.Helper()
	r := h.Run(args...)
	if r.Status != 0 {
		h.T.Fatalf("want success: %s", r)
	}
	return r.Stdout
}

// Fail runs a command that has to end with the status, with want somewhere in
// its standard error.
func (h *Host) Fail(status int, want string, args ...string) Result {
	h.T.Helper()
	r := h.Run(args...)
	if r.Status != status || !strings.Contains(r.Stderr, want) {
		h.T.Fatalf("want status %d and %q on stderr: %s", status, want, r)
	}
	return r
}

// Fetch fetches an image and returns its full ID.
func (h *Host) Fetch(image string, flags ...string) string {
	h.T.Helper()
	out := h.OK(append(append([]string{"fetch", "--full"}, flags...), image)...)
	id := strings.TrimSpace(out)
	if !strings.HasPrefix(id, "sha512-") || len(id) != 71 {
		h.T.Fatalf("fetch %s printed %q, want one image ID of 71 characters", image, out)
	}
	return id
}

// Status is the key=value lines of rkt status.
func (h *Host) Status(uuid string) map[string]string {
	h.T.Helper()
	m := map[string]string{}
	for line := range strings.Lines(h.OK("status", uuid)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		m[k] = v
	}
	return m
}

// Pods are the UUIDs below all state directories.
func (h *Host) Pods() []string {
	found, _ := filepath.Glob(filepath.Join(h.Dir, "pods", "*", "*-*-*-*-*"))
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

// PodDir is where a pod lies now, or "".
func (h *Host) PodDir(uuid string) string {
	for _, state := range []string{"embryo", "prepare", "prepared", "run", "exited-garbage", "garbage"} {
		p := filepath.Join(h.Dir, "pods", state, uuid)
		if _, err := os.Lstat(p); err == nil {
			return p
		}
	}
	return ""
}
