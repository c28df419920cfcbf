// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
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

	"github.com/rkt/rkt/v2/pkg/testenv"
)

const helperEnv = "RKT_CGROUP_TEST_HELPER"

// TestMain lets the test binary play the process inside the group: it joins
// the directories of its arguments and does what helperEnv says.
func TestMain(m *testing.M) {
	what := os.Getenv(helperEnv)
	if what == "" {
		os.Exit(m.Run())
	}
	if err := Join(os.Args[1:]); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(3)
	}
	switch what {
	case "eat":
		mem, err := unix.Mmap(-1, 0, 256<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			os.Exit(4)
		}
		for i := 0; i < len(mem); i += 4096 {
			mem[i] = 1
		}
	case "fork":
		n := 0
		for ; n < 100; n++ {
			cmd := exec.Command("/bin/sleep", "60")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if cmd.Start() != nil {
				break
			}
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(n))
	case "wait":
		_, _ = os.Stdout.WriteString("joined\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
	os.Exit(0)
}

func helper(ctx context.Context, what string, paths []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", paths...)
	cmd.Env = append(os.Environ(), helperEnv+"="+what)
	cmd.Stderr = os.Stderr
	return cmd
}

// realGroup makes a group on this host and removes it at the end.
func realGroup(t *testing.T, l Limits) (*Group, string) {
	t.Helper()
	return realGroupWith(t, l, func(*Group) {})
}

// realGroupWith calls before when the group is made and not limited yet.
func realGroupWith(t *testing.T, l Limits, before func(*Group)) (*Group, string) {
	t.Helper()
	testenv.NeedsRoot(t)
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range l.Controllers() {
		if !h.Has(c) {
			t.Skipf("needs the %s cgroup controller", c)
		}
	}
	name := `machine-rkt\x2dtest` + strconv.Itoa(os.Getpid()) + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "")) + ".scope"
	var known []string
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(Kill(ctx, known, name), Remove(ctx, known, name)); err != nil {
			t.Error(err)
		}
		for _, p := range known {
			if _, err := os.Stat(p); err == nil {
				t.Errorf("%s is left", p)
			}
		}
	})
	g, err := h.Make(name, l.Controllers(), func(p []string) error { known = slices.Clone(p); return nil })
	if err != nil {
		t.Fatal(err)
	}
	before(g)
	if err := g.Set(l); err != nil {
		t.Fatal(err)
	}
	return g, name
}

func TestMemoryLimitBinds(t *testing.T) {
	g, _ := realGroup(t, Limits{Memory: 64 << 20})
	err := helper(t.Context(), "eat", g.Paths()).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(interface{ Signaled() bool }).Signaled() == false {
		t.Errorf("256 MiB in a group of 64 MiB: %v", err)
	}
}

func TestPidsLimitBinds(t *testing.T) {
	g, _ := realGroup(t, Limits{Pids: 20})
	out, err := helper(t.Context(), "fork", g.Paths()).Output()
	n, _ := strconv.Atoi(string(out))
	// The threads of the helper itself count as well.
	if err != nil || n == 0 || n >= 20 {
		t.Errorf("%d children in a group of 20: %v", n, err)
	}
}

// TestIOWeightIsSet: what it does depends on the disk's scheduler.
func TestIOWeightIsSet(t *testing.T) {
	limits := Limits{IOWeight: 5000}
	g, _ := realGroupWith(t, limits, func(g *Group) {
		if err := g.Check(IO, limits); err != nil {
			t.Skip(err)
		}
	})
	for _, p := range g.Paths() {
		for file, want := range map[string]string{
			"io.weight": "default 5000", "io.bfq.weight": "default 545", "blkio.bfq.weight": "545", "blkio.weight": "747",
		} {
			data, err := os.ReadFile(filepath.Join(p, file))
			if err == nil && strings.TrimSpace(string(data)) == want {
				return
			}
		}
	}
	t.Errorf("the weight is in none of %v", g.Paths())
}

func TestLimitsAreSet(t *testing.T) {
	g, _ := realGroup(t, Limits{Memory: 44040192, CPU: 900, CPUShares: 512, Pids: 7})
	want := map[string]string{
		"memory.limit_in_bytes": "44040192", "memory.max": "44040192",
		"memory.memsw.limit_in_bytes": "44040192", "memory.swap.max": "0",
		"cpu.cfs_quota_us": "90000", "cpu.max": "90000 100000",
		"cpu.shares": "512", "cpu.weight": "20", "pids.max": "7",
	}
	found := 0
	for _, p := range g.Paths() {
		for file, value := range want {
			data, err := os.ReadFile(filepath.Join(p, file))
			if err != nil {
				continue
			}
			found++
			if got := strings.TrimSpace(string(data)); got != value {
				t.Errorf("%s/%s: %s, want %s", p, file, got, value)
			}
		}
	}
	if found != 4 && found != 5 { // with or without swap
		t.Errorf("%d control files looked at in %v", found, g.Paths())
	}
}

func TestKillAndRemove(t *testing.T) {
	g, name := realGroup(t, Limits{Pids: 100, Memory: 1 << 30})
	for _, p := range g.Paths() {
		if err := os.MkdirAll(filepath.Join(p, "a", "b"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var below []string
	for _, p := range g.Paths() {
		below = append(below, filepath.Join(p, "a", "b"))
	}
	cmd := helper(t.Context(), "wait", below)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := Kill(ctx, g.Paths(), name); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process ended by itself")
	}
	if err := Remove(ctx, g.Paths(), name); err != nil {
		t.Fatal(err)
	}
	if err := Remove(ctx, g.Paths(), name); err != nil {
		t.Errorf("removing twice: %v", err)
	}
}
