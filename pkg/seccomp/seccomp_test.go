// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// run interprets the few instructions Compile emits.
func run(t *testing.T, prog Program, arch, nr uint32, arg0 uint64) uint32 {
	t.Helper()
	var data [64]byte
	binary.LittleEndian.PutUint32(data[0:], nr)
	binary.LittleEndian.PutUint32(data[4:], arch)
	binary.LittleEndian.PutUint64(data[16:], arg0)
	var acc uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		cond := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[in.K:])
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			cond(acc == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			cond(acc >= in.K)
		default:
			t.Fatalf("instruction %d: code %#x", pc, in.Code)
		}
	}
	t.Fatal("program ran off its end")
	return 0
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
		{"default list", Retain, []string{"@rkt/default-whitelist"}, ""},
		{"one call", Retain, []string{"write"}, "EPERM"},
		{"deny list", Remove, []string{"@docker/default-blacklist"}, "ENOSYS"},
		{"deny two", Remove, []string{"mount", "read"}, ""},
		{"every known", Retain, known[:], ""},
		{"every second", Remove, everySecond(), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPolicy(tt.mode, tt.set, tt.errno)
			if err != nil {
				t.Fatal(err)
			}
			prog, err := p.Compile()
			if err != nil {
				t.Fatal(err)
			}
			if len(prog) > 4096 {
				t.Errorf("%d instructions, the kernel takes 4096", len(prog))
			}
			checkEvery(t, p, prog)
		})
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

func checkEvery(t *testing.T, p Policy, prog Program) {
	t.Helper()
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
			listed := exists && (slices.Contains(p.Calls, name) || p.Mode == Retain && slices.Contains(needed[:], name))
			want := p.denial()
			if listed == (p.Mode == Retain) {
				want = retAllow
			}
			if got := run(t, prog, a.arch, n, 0); got != want {
				t.Errorf("arch %#x call %d (%s): %#x, want %#x", a.arch, n, name, got, want)
			}
		}
		if a.limit != 0 {
			if got := run(t, prog, a.arch, a.limit+1, 0); got != p.denial() {
				t.Errorf("call of the x32 table: %#x", got)
			}
		}
	}
	if got := run(t, prog, unix.AUDIT_ARCH_S390X, 1, 0); got != p.denial() {
		t.Errorf("foreign architecture: %#x", got)
	}
}

func TestSockets(t *testing.T) {
	prog, err := Default().Compile()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range abis() {
		i := slices.IndexFunc(a.calls, func(c call) bool { return c.name == "socket" })
		for family, want := range map[uint64]uint32{
			unix.AF_INET: retAllow, unix.AF_UNIX: retAllow, unix.AF_NETLINK: retAllow,
			unix.AF_ALG: retErrno | uint32(unix.EAFNOSUPPORT), unix.AF_VSOCK: retErrno | uint32(unix.EAFNOSUPPORT),
			// The kernel looks at the low half of the register only.
			1<<32 | unix.AF_ALG: retErrno | uint32(unix.EAFNOSUPPORT),
		} {
			if got := run(t, prog, a.arch, a.calls[i].nr, family); got != want {
				t.Errorf("arch %#x family %d: %#x, want %#x", a.arch, family, got, want)
			}
		}
	}
}

func TestTables(t *testing.T) {
	for _, list := range [][]string{known[:], allowList[:], denyList[:], armList[:], groupDefault[:], groupPrivileged[:]} {
		if !slices.IsSorted(list) {
			t.Errorf("%v is not sorted", list)
		}
		for _, n := range list {
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
}

func TestPolicy(t *testing.T) {
	for _, tt := range []struct {
		mode  Mode
		set   string
		errno string
		check func(Policy, error) bool
	}{
		{Retain, "@appc.io/all", "", func(p Policy, err error) bool { return err == nil && p.Unfiltered }},
		{Retain, "read @appc.io/all", "", func(p Policy, err error) bool { return err == nil && p.Unfiltered }},
		{Remove, "@appc.io/empty", "EPERM", func(p Policy, err error) bool {
			return err == nil && p.Mode == Retain && p.DenySockets && p.Errno == unix.EPERM
		}},
		{Retain, "@appc.io/empty", "", func(_ Policy, err error) bool { return err != nil }},
		{Remove, "@appc.io/all", "", func(_ Policy, err error) bool { return err != nil }},
		{Remove, "@nope/x", "", func(_ Policy, err error) bool { return errors.Is(err, ErrUnknownWildcard) }},
		{Remove, "@clock", "", func(_ Policy, err error) bool { return errors.Is(err, ErrUnknownWildcard) }},
		{Remove, "reed", "", func(_ Policy, err error) bool { return errors.Is(err, ErrUnknownCall) }},
		{Remove, "read", "EXYZ", func(_ Policy, err error) bool { return err != nil }},
		{Remove, "@systemd/clock", "", func(p Policy, err error) bool { return err == nil && slices.Contains(p.Calls, "settimeofday") }},
		{Remove, "read read write", "", func(p Policy, err error) bool {
			return err == nil && slices.Equal(p.Calls, []string{"read", "write"})
		}},
	} {
		if p, err := NewPolicy(tt.mode, strings.Fields(tt.set), tt.errno); !tt.check(p, err) {
			t.Errorf("NewPolicy(%d, %s, %s) = %+v, %v", tt.mode, tt.set, tt.errno, p, err)
		}
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
