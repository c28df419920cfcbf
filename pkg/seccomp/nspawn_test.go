// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// container is a tiny root with the probe as its program.
type container struct {
	nspawn, root, name string
	groups             []string
}

func newContainer(t *testing.T) *container {
	t.Helper()
	testenv.NeedsRoot(t)
	c := &container{nspawn: testenv.NeedsProgram(t, "systemd-nspawn"), root: t.TempDir()}
	c.name = "sctest" + strconv.Itoa(os.Getpid())
	for _, dir := range []string{"bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"} {
		if err := os.Mkdir(filepath.Join(c.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.root, "etc/os-release"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(c.root, "bin", c.name), "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.makeGroups(t)
	t.Cleanup(func() { _ = os.RemoveAll("/run/systemd/nspawn/propagate/" + c.name) })
	return c
}

// makeGroups makes the cgroups that nspawn makes its own below: it has to have
// some, or they are left at the top.
func (c *container) makeGroups(t *testing.T) {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(top, c.name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		c.groups = append(c.groups, dir)
		t.Cleanup(func() {
			for _, d := range []string{"payload", "supervisor", ""} {
				if err := unix.Rmdir(filepath.Join(dir, d)); err != nil && !errors.Is(err, unix.ENOENT) {
					t.Errorf("rmdir %s: %v", filepath.Join(dir, d), err)
				}
			}
		})
	}
}

// start runs the probe in the container and returns its process when it is
// there, and a function that ends it.
func (c *container) start(t *testing.T, filter string, options ...string) (pid int, end func() error) {
	t.Helper()
	argv := append([]string{
		c.nspawn, "-q", "-D", c.root, "-M", c.name, "--register=no", "--keep-unit", "--settings=no", "--resolv-conf=off",
		"--timezone=off", "--link-journal=no", "--console=pipe",
	}, options...)
	cmd := child(t, c.groups, filter, append(argv, "--", "/bin/"+c.name)...)
	if filter != "" {
		cmd.Env = append(cmd.Env, "SYSTEMD_SECCOMP=0")
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() error {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w: %s", err, stderr.String())
		}
		return nil
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the probe says %q: %v", line, end())
	}
	return processNamed(t, c.name), end
}

func processNamed(t *testing.T, name string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if comm, err := os.ReadFile(f); err == nil && string(comm) == name+"\n" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	t.Fatalf("no process %s", name)
	return 0
}

// filtersOf returns the filters that a process is under, by ptrace(2).
func filtersOf(t *testing.T, pid int) (all []Program) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	for i := uintptr(0); ; i++ {
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), i, 0, 0, 0)
		if errno == unix.ENOENT {
			return all
		}
		if errno != 0 {
			t.Fatalf("get filter %d: %v", i, errno)
		}
		prog := make(Program, n)
		_, _, errno = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), i, uintptr(unsafe.Pointer(&prog[0])), 0, 0)
		if errno != 0 {
			t.Fatalf("get filter %d: %v", i, errno)
		}
		all = append(all, prog)
	}
}

// strictest is what the kernel makes of several filters.
func strictest(t *testing.T, filters []Program, a ask) uint32 {
	t.Helper()
	answer := retAllow
	for _, prog := range filters {
		// The order of the actions is that of signed numbers (seccomp(2)).
		if got := run(t, prog, a); int32(got&unix.SECCOMP_RET_ACTION_FULL) < int32(answer&unix.SECCOMP_RET_ACTION_FULL) {
			answer = got
		}
	}
	return answer
}

// boundingOf reads the bounding set of a process.
func boundingOf(t *testing.T, pid int) caps.Set {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "CapBnd:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return caps.Set(set)
}

// TestSupervisorAgainstNspawn asks the filters that the installed nspawn loads
// and ours about every call, and names every difference.
func TestSupervisorAgainstNspawn(t *testing.T) {
	c := newContainer(t)
	for name, options := range map[string][]string{
		"no capability":    {"--drop-capability=all"},
		"default":          nil,
		"all capabilities": {"--capability=all"},
	} {
		t.Run(name, func(t *testing.T) {
			pid, end := c.start(t, "", options...)
			theirs, kept := filtersOf(t, pid), boundingOf(t, pid)
			if err := end(); err != nil {
				t.Error(err)
			}
			if len(theirs) == 0 {
				t.Fatal("this nspawn loads no filter")
			}
			ours, err := Supervisor(kept, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range abis() {
				compareTable(t, a, theirs, ours)
			}
		})
	}
}

func compareTable(t *testing.T, a abi, theirs []Program, ours Program) {
	t.Helper()
	// Nothing in a pod needs these, and both have a record of holes in the kernel.
	stricter := []string{"io_uring_enter", "io_uring_register", "io_uring_setup", "userfaultfd"}
	// The filter of an app lies below this one, so this one has to have the
	// default list: calls that are newer than nspawn 252 or that it leaves out
	// (mlock without CAP_IPC_LOCK, modify_ldt, pkey_*, landlock_*, …). Each app
	// is under a list of its own, and systemd has no use for them.
	looser := Default(0).Calls

	names := map[uint32]string{}
	for _, c := range a.calls {
		names[c.nr] = c.name
	}
	for nr := range uint32(1024) {
		q := ask{arch: a.arch, nr: nr}
		their, our := strictest(t, theirs, q), run(t, ours, q)
		switch name := names[nr]; {
		case (their == retAllow) == (our == retAllow):
		case our == retAllow && name != "" && slices.Contains(looser, name):
		case their == retAllow && slices.Contains(stricter, name):
		default:
			t.Errorf("arch %#x call %d (%s): nspawn answers %#x, ours %#x", a.arch, nr, name, their, our)
		}
		// nspawn allows x32 programs; the stage1 is not for such kernels.
		if a.limit != 0 {
			q.nr |= a.limit
			if got := run(t, ours, q); got != enosys {
				t.Errorf("x32 call %d: %#x", nr, got)
			}
		}
	}
	nr, _ := a.number("socket")
	for _, args := range [][6]uint64{
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		{unix.AF_INET, unix.SOCK_STREAM, unix.NETLINK_AUDIT},
		{unix.AF_UNIX, unix.SOCK_STREAM, 0},
	} {
		q := ask{arch: a.arch, nr: nr, args: args}
		their, our := strictest(t, theirs, q), run(t, ours, q)
		// nspawn has the rule for the native table only.
		if their != our && (a.arch == abis()[0].arch || our != eafnosupp) {
			t.Errorf("arch %#x socket%v: nspawn answers %#x, ours %#x", a.arch, args, their, our)
		}
	}
	audit := [6]uint64{high | unix.AF_NETLINK, unix.SOCK_RAW, high | unix.NETLINK_AUDIT}
	if got := run(t, ours, ask{arch: a.arch, nr: nr, args: audit}); got != eafnosupp {
		t.Errorf("arch %#x: audit socket with high bits: %#x", a.arch, got)
	}
}

// TestNspawnUnderSupervisor runs the installed nspawn under our filter in the
// place of its own.
func TestNspawnUnderSupervisor(t *testing.T) {
	c := newContainer(t)
	kept := caps.Default | 1<<unix.CAP_SYS_ADMIN
	want, err := Supervisor(kept, []string{"ptrace"})
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]string{
		"direct":      nil,
		"under init":  {"--as-pid2"},
		"own network": {"--private-network"},
		"read-only":   {"--read-only", "--tmpfs=/var"},
	} {
		t.Run(name, func(t *testing.T) {
			pid, end := c.start(t, fmt.Sprintf("supervisor %d ptrace", kept), options...)
			if got := filtersOf(t, pid); len(got) != 1 || !slices.Equal(got[0], want) {
				t.Errorf("the probe is under %d filters", len(got))
			}
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSupervisorExtra(t *testing.T) {
	plain, err := Supervisor(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	more, err := Supervisor(0, []string{"ptrace", "keyctl", "read"})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range abis() {
		for _, c := range a.calls {
			q := ask{arch: a.arch, nr: c.nr}
			want := run(t, plain, q)
			if c.name == "ptrace" || c.name == "keyctl" {
				if want != eperm {
					t.Errorf("%s without extra: %#x", c.name, want)
				}
				want = retAllow
			}
			if got := run(t, more, q); got != want {
				t.Errorf("%s with extra: %#x, want %#x", c.name, got, want)
			}
		}
	}
	if _, err := Supervisor(0, []string{"reed"}); !errors.Is(err, ErrUnknownCall) {
		t.Error(err)
	}
}
