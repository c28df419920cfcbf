// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
)

func compiled(t testing.TB, p Policy) Program {
	t.Helper()
	prog, err := p.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

// run asks a program, which must have an answer.
func run(t testing.TB, prog Program, a ask) uint32 {
	t.Helper()
	got, err := interpret(prog, a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// number finds a call in a table.
func (t abi) number(name string) (uint32, bool) {
	i := slices.IndexFunc(t.calls, func(c call) bool { return c.name == name })
	if i < 0 {
		return 0, false
	}
	return t.calls[i].nr, true
}

// TestCompile asks the program about every number of every table and compares
// with the list of the policy.
func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  Mode
		set   []string
		errno string
	}{
		{"one call", Retain, []string{"write"}, "EPERM"},
		{"deny list", Remove, []string{"@docker/default-blacklist"}, "ENOSYS"},
		{"deny two", Remove, []string{"mount", "read"}, ""},
		{"only in one table", Remove, []string{"kexec_file_load"}, ""},
		{"only in the other", Remove, []string{"ugetrlimit"}, "EPERM"},
		{"in no table", Remove, []string{"osf_mount"}, ""},
		{"every known", Retain, known[:], ""},
		{"every second", Remove, everySecond(), ""},
		{"allow every second", Retain, everySecond(), "EPERM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPolicy(tt.mode, tt.set, tt.errno)
			if err != nil {
				t.Fatal(err)
			}
			checkEvery(t, p, compiled(t, p))
		})
	}
	for name, bounding := range map[string]caps.Set{"default": caps.Default, "no capability": 0, "all capabilities": caps.All} {
		t.Run(name, func(t *testing.T) {
			p := Default(bounding)
			checkEvery(t, p, compiled(t, p))
		})
	}
}

// FuzzCompile: whatever the list, the program says what the policy does.
func FuzzCompile(f *testing.F) {
	f.Add([]byte("seed"), true, uint16(1), uint16(38))
	f.Add([]byte{}, false, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, bits []byte, retain bool, errno, unknown uint16) {
		p := Policy{Mode: Remove, Errno: unix.Errno(errno % maxErrno), Unknown: unix.Errno(unknown % maxErrno)}
		if retain {
			p.Mode, p.Guarded = Retain, ruled()
		}
		for i, name := range known {
			if i/8 < len(bits) && bits[i/8]&(1<<(i%8)) != 0 {
				p.Calls = append(p.Calls, name)
			}
		}
		checkEvery(t, p, compiled(t, p))
	})
}

// TestFollow: what comes after an instruction may have been placed long ago.
func TestFollow(t *testing.T) {
	var a assembler
	deny, allow := a.leaf(answer{action: eperm}), a.leaf(answer{action: retAllow})
	for _, place := range []int{deny, allow} {
		b := assembler{backward: slices.Clone(a.backward)}
		b.follow(place)
		b.emit(load(offsetNr))
		want := eperm
		if place == allow {
			want = retAllow
		}
		if got := run(t, b.finish(), ask{}); got != want {
			t.Errorf("place %d: %#x, want %#x", place, got, want)
		}
	}
}

func everySecond() (out []string) {
	for i, n := range known {
		if i%2 == 0 {
			out = append(out, n)
		}
	}
	return out
}

// checkEvery compares with a plain reading of the policy. Arguments are 0,
// which no rule but clone3's refuses.
func checkEvery(t *testing.T, p Policy, prog Program) {
	t.Helper()
	if len(prog) > unix.BPF_MAXINSNS {
		t.Errorf("%d instructions, the kernel takes %d", len(prog), unix.BPF_MAXINSNS)
	}
	for _, a := range abis() {
		byNr := map[uint32]string{}
		for _, c := range a.calls {
			byNr[c.nr] = c.name
		}
		numbers := []uint32{600, 1023, 1 << 20, 1<<30 - 1}
		for n := range uint32(512) {
			numbers = append(numbers, n)
		}
		for _, c := range a.calls {
			numbers = append(numbers, c.nr)
		}
		for _, n := range numbers {
			name, exists := byNr[n]
			if got, want := run(t, prog, ask{arch: a.arch, nr: n}), p.plain(name, exists); got != want {
				t.Errorf("arch %#x call %d (%s): %#x, want %#x", a.arch, n, name, got, want)
			}
		}
		if a.limit == 0 {
			continue
		}
		for _, n := range []uint32{a.limit, a.limit + 1, a.limit + 59, 1 << 31, 1<<32 - 1} {
			if got := run(t, prog, ask{arch: a.arch, nr: n}); got != p.foreign() {
				t.Errorf("call %#x of the x32 table: %#x", n, got)
			}
		}
	}
	if got := run(t, prog, ask{arch: unix.AUDIT_ARCH_S390X, nr: 1}); got != p.foreign() {
		t.Errorf("foreign architecture: %#x", got)
	}
}

func (p Policy) plain(name string, exists bool) uint32 {
	switch {
	case !exists && p.Unknown != 0:
		return deny(p.Unknown)
	case name == "clone3" && slices.Contains(p.Guarded, name):
		return deny(unix.ENOSYS)
	}
	listed := exists && (slices.Contains(p.Calls, name) || p.Mode == Retain && slices.Contains(needed[:], name))
	if listed == (p.Mode == Retain) {
		return retAllow
	}
	return deny(p.Errno)
}

func (p Policy) foreign() uint32 {
	if p.Unknown != 0 {
		return deny(p.Unknown)
	}
	return deny(p.Errno)
}

const (
	allowed   = retAllow
	eperm     = retErrno | uint32(unix.EPERM)
	enosys    = retErrno | uint32(unix.ENOSYS)
	eafnosupp = retErrno | uint32(unix.EAFNOSUPPORT)
	absent    = 0 // the table has no such call
)

// high is a register whose upper half is set. The kernel looks at the lower
// half alone, so it must not change the answer.
const high = 0xdeadbeef << 32

// TestDefault is the table of what the default filter is for: the answers of
// the native table and of the 32-bit one.
func TestDefault(t *testing.T) {
	admin := caps.Default | 1<<unix.CAP_SYS_ADMIN
	for _, tt := range []struct {
		name   string
		kept   caps.Set
		args   [6]uint64
		native uint32
		compat uint32
	}{
		{"read", 0, [6]uint64{}, allowed, allowed},
		{"execve", 0, [6]uint64{}, allowed, allowed},
		{"statx", 0, [6]uint64{}, allowed, allowed},
		{"openat2", 0, [6]uint64{}, allowed, allowed},
		{"futex_time64", 0, [6]uint64{}, absent, allowed},
		{"clock_settime64", 0, [6]uint64{}, absent, eperm},
		{"clock_settime64", 1 << unix.CAP_SYS_TIME, [6]uint64{}, absent, allowed},
		{"keyctl", caps.All, [6]uint64{}, eperm, eperm},
		{"add_key", caps.All, [6]uint64{}, eperm, eperm},
		{"request_key", caps.All, [6]uint64{}, eperm, eperm},
		{"io_uring_setup", caps.All, [6]uint64{}, eperm, eperm},
		{"userfaultfd", caps.All, [6]uint64{}, eperm, eperm},
		{"kexec_load", caps.All, [6]uint64{}, eperm, eperm},
		{"swapon", caps.All, [6]uint64{}, eperm, eperm},
		{"bpf", caps.Default, [6]uint64{}, eperm, eperm},
		{"bpf", 1 << unix.CAP_BPF, [6]uint64{}, allowed, allowed},
		{"perf_event_open", caps.Default, [6]uint64{}, eperm, eperm},
		{"perf_event_open", 1 << unix.CAP_PERFMON, [6]uint64{}, allowed, allowed},
		{"ptrace", caps.Default, [6]uint64{}, eperm, eperm},
		{"ptrace", 1 << unix.CAP_SYS_PTRACE, [6]uint64{}, allowed, allowed},
		{"init_module", admin, [6]uint64{}, eperm, eperm},
		{"init_module", 1 << unix.CAP_SYS_MODULE, [6]uint64{}, allowed, allowed},
		{"reboot", 1 << unix.CAP_SYS_BOOT, [6]uint64{}, allowed, allowed},
		{"open_by_handle_at", admin, [6]uint64{}, eperm, eperm},
		{"open_by_handle_at", 1 << unix.CAP_DAC_READ_SEARCH, [6]uint64{}, allowed, allowed},
		{"mount", caps.Default, [6]uint64{}, eperm, eperm},
		{"mount", admin, [6]uint64{}, allowed, allowed},
		{"fsopen", caps.Default, [6]uint64{}, eperm, eperm},
		{"mount_setattr", caps.Default, [6]uint64{}, eperm, eperm},
		{"unshare", caps.Default, [6]uint64{}, eperm, eperm},
		{"setns", caps.Default, [6]uint64{}, eperm, eperm},
		{"setns", admin, [6]uint64{}, allowed, allowed},

		{"clone3", caps.Default, [6]uint64{1, 88}, enosys, enosys},
		{"clone3", admin, [6]uint64{1, 88}, allowed, allowed},
		{"clone", caps.Default, [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD | uint64(unix.SIGCHLD)}, allowed, allowed},
		// 0x80 is CLONE_NEWTIME elsewhere, and part of a signal number here.
		{"clone", caps.Default, [6]uint64{0xff}, allowed, allowed},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{high | unix.CLONE_NEWUSER}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{high}, allowed, allowed},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWNS}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWNET}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWPID}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWUTS}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWIPC}, eperm, eperm},
		{"clone", caps.Default, [6]uint64{unix.CLONE_NEWCGROUP}, eperm, eperm},
		{"clone", admin, [6]uint64{unix.CLONE_NEWUSER}, allowed, allowed},

		{"ioctl", caps.All, [6]uint64{0, unix.TCGETS}, allowed, allowed},
		{"ioctl", caps.All, [6]uint64{0, unix.TIOCSTI}, eperm, eperm},
		{"ioctl", caps.All, [6]uint64{0, high | unix.TIOCSTI}, eperm, eperm},
		{"ioctl", caps.All, [6]uint64{high, high | tioclinux}, eperm, eperm},
		{"ioctl", caps.All, [6]uint64{0, unix.TIOCSTI << 32}, allowed, allowed},
		{"ioctl", caps.All, [6]uint64{unix.TIOCSTI, unix.TCGETS}, allowed, allowed},

		{"personality", caps.All, [6]uint64{0}, allowed, allowed},
		{"personality", caps.All, [6]uint64{8}, allowed, allowed},
		{"personality", caps.All, [6]uint64{0x20000}, allowed, allowed},
		{"personality", caps.All, [6]uint64{0x20008}, allowed, allowed},
		{"personality", caps.All, [6]uint64{0xffffffff}, allowed, allowed},
		{"personality", caps.All, [6]uint64{1<<64 - 1}, allowed, allowed},
		{"personality", caps.All, [6]uint64{0x40000}, eperm, eperm},
		{"personality", caps.All, [6]uint64{high | 0x40000}, eperm, eperm},
		{"personality", caps.All, [6]uint64{0x0400000}, eperm, eperm}, // READ_IMPLIES_EXEC

		{"socket", caps.All, [6]uint64{unix.AF_INET}, allowed, allowed},
		{"socket", caps.All, [6]uint64{unix.AF_UNIX}, allowed, allowed},
		{"socket", caps.All, [6]uint64{unix.AF_NETLINK}, allowed, allowed},
		{"socket", caps.All, [6]uint64{unix.AF_ALG}, eafnosupp, eafnosupp},
		{"socket", caps.All, [6]uint64{unix.AF_VSOCK}, eafnosupp, eafnosupp},
		{"socket", caps.All, [6]uint64{high | unix.AF_ALG}, eafnosupp, eafnosupp},
		{"socket", caps.All, [6]uint64{high | unix.AF_VSOCK}, eafnosupp, eafnosupp},
		{"socket", caps.All, [6]uint64{unix.AF_ALG << 32}, allowed, allowed},
		{"socketpair", caps.All, [6]uint64{unix.AF_UNIX}, allowed, allowed},
		{"socketpair", caps.All, [6]uint64{unix.AF_ALG}, eafnosupp, eafnosupp},
		{"socketcall", caps.All, [6]uint64{1}, absent, enosys},
		{"socketcall", caps.All, [6]uint64{8}, absent, enosys},
		{"socketcall", caps.All, [6]uint64{3}, absent, allowed}, // connect
	} {
		prog := compiled(t, Default(tt.kept))
		for i, want := range []uint32{tt.native, tt.compat} {
			table := abis()[i]
			nr, ok := table.number(tt.name)
			if !ok {
				if want != absent && tt.native == absent {
					t.Errorf("no call %s", tt.name)
				}
				continue
			}
			if got := run(t, prog, ask{arch: table.arch, nr: nr, args: tt.args}); want != absent && got != want {
				t.Errorf("arch %#x %s %#x with %v: %#x, want %#x", table.arch, tt.name, tt.args, tt.kept, got, want)
			}
		}
	}
}

// TestDefaultOtherTables: what is no call, and the third table of an x86 kernel.
func TestDefaultOtherTables(t *testing.T) {
	prog := compiled(t, Default(caps.All))
	for _, a := range []ask{
		{arch: abis()[0].arch, nr: 9999},
		{arch: abis()[1].arch, nr: 9999},
		{arch: abis()[0].arch, nr: 1<<32 - 1},
		{arch: abis()[1].arch, nr: 1<<32 - 1},
		{arch: unix.AUDIT_ARCH_X86_64, nr: 0x40000000 | 41, args: [6]uint64{unix.AF_ALG}}, // x32 socket
		{arch: unix.AUDIT_ARCH_X86_64, nr: 0x40000000 | 514},                              // x32 ioctl
		{arch: unix.AUDIT_ARCH_X86_64, nr: 0x40000000},
		{arch: unix.AUDIT_ARCH_PPC64, nr: 1},
	} {
		if a.arch != abis()[0].arch && a.arch == unix.AUDIT_ARCH_X86_64 {
			continue
		}
		if got := run(t, prog, a); got != enosys {
			t.Errorf("%+v: %#x", a, got)
		}
	}
}

// TestLists: the appendix stays in the default list, and what is meant to be
// blocked is in no form of it.
func TestLists(t *testing.T) {
	for _, list := range [][]string{known[:], allowList[:], denyList[:], armList[:], groupDefault[:], groupPrivileged[:], modernList[:], supervisorList[:], needed[:], ruled()} {
		if !slices.IsSorted(list) {
			t.Errorf("%v is not sorted", list)
		}
		for _, n := range list {
			if !isKnown(n) {
				t.Errorf("%s is not known", n)
			}
		}
	}
	for _, c := range capCalls {
		for _, n := range c.calls {
			if !isKnown(n) {
				t.Errorf("%s is not known", n)
			}
		}
	}
	for _, a := range abis() {
		if !slices.IsSortedFunc(a.calls, func(x, y call) int { return strings.Compare(x.name, y.name) }) {
			t.Errorf("table %#x is not sorted", a.arch)
		}
		seen := map[uint32]string{}
		for _, c := range a.calls {
			if seen[c.nr] != "" {
				t.Errorf("table %#x: %s and %s have number %d", a.arch, c.name, seen[c.nr], c.nr)
			}
			seen[c.nr] = c.name
		}
	}
	if len(allowList) != 309 || len(denyList) != 50 || len(armList) != 6 {
		t.Errorf("lists of %d, %d, %d names", len(allowList), len(denyList), len(armList))
	}
	plain, all := Default(0), Default(caps.All)
	for _, n := range allowList {
		if !slices.Contains(plain.Calls, n) {
			t.Errorf("%s is not in the default list", n)
		}
	}
	for _, n := range denyList {
		if slices.Contains(plain.Calls, n) {
			t.Errorf("%s is in the default list", n)
		}
	}
	for _, n := range []string{
		"keyctl", "add_key", "request_key", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd",
		"kexec_load", "kexec_file_load", "create_module", "swapon", "swapoff", "uselib", "_sysctl", "nfsservctl",
	} {
		if slices.Contains(all.Calls, n) {
			t.Errorf("%s is in the default list with all capabilities", n)
		}
	}
}

func TestPolicy(t *testing.T) {
	defaultSet := sorted(defaultList(extraAllowed()))
	for _, tt := range []struct {
		mode  Mode
		set   string
		errno string
		check func(Policy, error) bool
	}{
		{Retain, "@appc.io/all", "", func(p Policy, err error) bool { return err == nil && p.Unfiltered }},
		{Retain, "read @appc.io/all", "", func(p Policy, err error) bool { return err == nil && p.Unfiltered }},
		{Remove, "@appc.io/empty", "EACCES", func(p Policy, err error) bool {
			return err == nil && p.Mode == Retain && p.Errno == unix.EACCES && p.Unknown == unix.ENOSYS &&
				slices.Equal(p.Calls, defaultSet) && slices.Equal(p.Guarded, ruled())
		}},
		{Remove, "@appc.io/empty", "", func(p Policy, err error) bool { return err == nil && p.Errno == 0 }},
		{Retain, "@appc.io/empty", "", func(_ Policy, err error) bool { return err != nil }},
		{Remove, "@appc.io/all", "", func(_ Policy, err error) bool { return err != nil }},
		{Remove, "@nope/x", "", func(_ Policy, err error) bool { return errors.Is(err, ErrUnknownWildcard) }},
		{Remove, "@clock", "", func(_ Policy, err error) bool { return errors.Is(err, ErrUnknownWildcard) }},
		{Remove, "reed", "", func(_ Policy, err error) bool { return errors.Is(err, ErrUnknownCall) }},
		{Remove, "read", "EXYZ", func(_ Policy, err error) bool { return err != nil }},
		{Remove, "@systemd/clock", "", func(p Policy, err error) bool { return err == nil && slices.Contains(p.Calls, "settimeofday") }},
		{Remove, "read read write", "", func(p Policy, err error) bool {
			return err == nil && slices.Equal(p.Calls, []string{"read", "write"}) && p.Guarded == nil
		}},
		// An explicit list is what it says, and nothing more.
		{Retain, "socket ioctl clone", "", func(p Policy, err error) bool {
			return err == nil && len(p.Calls) == 3 && p.Guarded == nil && p.Errno == 0 && p.Unknown == 0
		}},
		{Retain, "@rkt/default-whitelist", "", func(p Policy, err error) bool {
			return err == nil && slices.Equal(p.Calls, defaultSet) && slices.Equal(p.Guarded, ruled()) && p.Errno == 0 && p.Unknown == 0
		}},
		// Naming a call, alone or by another wildcard, lifts its rule.
		{Retain, "@docker/default-whitelist socket ptrace", "", func(p Policy, err error) bool {
			return err == nil && slices.Contains(p.Calls, "ptrace") && slices.Equal(p.Guarded, without(ruled(), "socket"))
		}},
		{Retain, "@docker/default-whitelist @systemd/process", "", func(p Policy, err error) bool {
			return err == nil && slices.Equal(p.Guarded, without(ruled(), "clone", "clone3"))
		}},
		{Remove, "@rkt/default-whitelist", "", func(p Policy, err error) bool {
			return err == nil && slices.Equal(p.Calls, defaultSet) && p.Guarded == nil
		}},
	} {
		if p, err := NewPolicy(tt.mode, strings.Fields(tt.set), tt.errno); !tt.check(p, err) {
			t.Errorf("NewPolicy(%d, %s, %s) = %+v, %v", tt.mode, tt.set, tt.errno, p, err)
		}
	}
}

func TestUnknownRule(t *testing.T) {
	if _, err := (Policy{Calls: []string{"read"}, Guarded: []string{"read"}}).Compile(); err == nil {
		t.Error("compiled")
	}
}

func TestDiff(t *testing.T) {
	base := Default(caps.Default)
	explicit := func(mode Mode, set ...string) Policy {
		p, err := NewPolicy(mode, set, "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		name           string
		p, base        Policy
		added, removed []string
	}{
		{"same", base, Default(caps.Default), nil, nil},
		{"capability", Default(caps.Default | 1<<unix.CAP_SYS_PACCT), base, []string{"acct"}, nil},
		{"more", explicit(Retain, "@rkt/default-whitelist", "keyctl"), base, []string{"keyctl"}, nil},
		{"rule lifted", explicit(Retain, "@rkt/default-whitelist", "ioctl", "clone3"), base, []string{"clone3", "ioctl(TIOCSTI, TIOCLINUX)"}, nil},
		{"rule added", base, explicit(Retain, "@rkt/default-whitelist", "socket"), nil, []string{"socket(AF_ALG, AF_VSOCK)"}},
		{"less", Policy{Mode: Retain, Calls: without(base.Calls, "read", "ioctl"), Guarded: base.Guarded}, base, nil, []string{"ioctl", "read"}},
		{"deny", explicit(Remove, "mount"), Policy{Unfiltered: true}, nil, []string{"mount"}},
	} {
		if added, removed := tt.p.Diff(tt.base); !slices.Equal(added, tt.added) || !slices.Equal(removed, tt.removed) {
			t.Errorf("%s: added %v, removed %v", tt.name, added, removed)
		}
	}
}

func TestAllowed(t *testing.T) {
	got := Default(0).Allowed()
	if !slices.Contains(got, "clone") || slices.Contains(got, "clone3") || slices.Contains(got, "mount") {
		t.Errorf("%v", got)
	}
	if all := (Policy{Unfiltered: true}).Allowed(); !slices.Equal(all, tableNames()) {
		t.Errorf("unfiltered: %v", all)
	}
	deny := Policy{Mode: Remove, Calls: []string{"mount"}}.Allowed()
	if slices.Contains(deny, "mount") || !slices.Contains(deny, "keyctl") {
		t.Errorf("deny list: %v", deny)
	}
}

func TestErrno(t *testing.T) {
	for name, want := range map[string]unix.Errno{
		"": 0, "EPERM": unix.EPERM, "ENOSYS": unix.ENOSYS, "ENOTSUP": unix.EOPNOTSUPP,
		"EOPNOTSUPP": unix.EOPNOTSUPP, "EWOULDBLOCK": unix.EAGAIN, "E2BIG": unix.E2BIG, "EHWPOISON": unix.EHWPOISON,
	} {
		if got, err := ParseErrno(name); err != nil || got != want {
			t.Errorf("ParseErrno(%s) = %d, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"PERM":   "errno must start with an 'E' character, got PERM",
		"Eperm":  "errno can only contain upper case or numeric characters, got Eperm",
		"EBOGUS": "unknown errno EBOGUS",
	} {
		if _, err := ParseErrno(name); err == nil || err.Error() != want {
			t.Errorf("ParseErrno(%s): %v", name, err)
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		compiled(b, Default(caps.Default))
	}
	b.ReportMetric(float64(len(compiled(b, Default(caps.Default)))), "instructions")
}
