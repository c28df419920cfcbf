// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// call is one row of a system call table.
type call struct {
	name string
	nr   uint32
}

// abi is one way into the kernel.
type abi struct {
	arch  uint32 // AUDIT_ARCH_…
	calls []call // sorted by name
	limit uint32 // if not 0: calls from this number on belong to another table
}

// ErrUnsupported is returned by Compile on an architecture without table.
var ErrUnsupported = errors.New("no system call table for this architecture")

// Program is a filter in classic BPF.
type Program []unix.SockFilter

// Offsets in struct seccomp_data, little endian.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArg0 = 16
)

// retErrno is SECCOMP_RET_ERRNO, retKill is SECCOMP_RET_KILL_PROCESS, retAllow
// is SECCOMP_RET_ALLOW.
const (
	retErrno uint32 = 0x00050000
	retKill  uint32 = 0x80000000
	retAllow uint32 = 0x7fff0000
)

// Compile makes the program of a policy, nil if it is unfiltered.
func (p Policy) Compile() (Program, error) {
	if p.Unfiltered {
		return nil, nil
	}
	tables := abis()
	if len(tables) == 0 {
		return nil, ErrUnsupported
	}
	prog := Program{load(offsetArch)}
	for _, t := range tables {
		section := p.section(t)
		// The section is longer than a conditional jump reaches.
		prog = append(prog, jumpEqual(t.arch, 0, 1), jump(uint32(1)), jump(uint32(len(section))))
		prog = append(prog, section...)
	}
	return append(prog, ret(p.denial())), nil
}

func (p Policy) denial() uint32 {
	if p.Errno == 0 {
		return retKill
	}
	return retErrno | uint32(p.Errno)
}

// section decides the calls of one table. It always returns.
func (p Policy) section(t abi) Program {
	listed, other := retAllow, p.denial()
	if p.Mode == Remove {
		listed, other = p.denial(), retAllow
	}
	calls := p.numbers(t)
	prog := Program{load(offsetNr)}
	if t.limit != 0 {
		prog = append(prog, jumpNotLess(t.limit, 0, 1), ret(p.denial()))
	}
	if p.DenySockets {
		prog = append(prog, denySockets(t)...)
	}
	return append(prog, tree(spans(calls, listed, other))...)
}

// numbers are the listed calls that the table has. An allow list gets what it
// takes to execute a program and let it exit.
func (p Policy) numbers(t abi) []uint32 {
	names := p.Calls
	if p.Mode == Retain {
		names = sorted(append(slices.Clone(names), needed[:]...))
	}
	var nrs []uint32
	for _, c := range t.calls {
		if _, ok := slices.BinarySearch(names, c.name); ok {
			nrs = append(nrs, c.nr)
		}
	}
	slices.Sort(nrs)
	return nrs
}

// needed is in every allow list (spec apps.md 9).
var needed = [...]string{
	"clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
	"clock_nanosleep_time64", "execve", "exit", "exit_group", "getrlimit", "gettimeofday", "nanosleep",
	"pause", "prlimit64", "restart_syscall", "rt_sigreturn", "sigreturn", "time", "ugetrlimit",
}

// denySockets answers socket(AF_ALG) and socket(AF_VSOCK) with EAFNOSUPPORT,
// as if the kernel had no such family. socketcall(2) hides the family behind a
// pointer that a filter cannot follow, so it gets ENOSYS: C libraries then use
// the direct calls.
func denySockets(t abi) Program {
	var prog Program
	for _, c := range t.calls {
		switch c.name {
		case "socketcall":
			prog = append(prog, jumpEqual(c.nr, 0, 1), ret(retErrno|uint32(unix.ENOSYS)))
		case "socket":
			prog = append(prog,
				jumpEqual(c.nr, 0, 5),
				load(offsetArg0),
				jumpEqual(unix.AF_ALG, 1, 0),
				jumpEqual(unix.AF_VSOCK, 0, 1),
				ret(retErrno|uint32(unix.EAFNOSUPPORT)),
				load(offsetNr))
		}
	}
	return prog
}

// span is a range of call numbers from "from" to the next span.
type span struct {
	from   uint32
	action uint32
}

// spans turns sorted numbers into ranges that cover all numbers.
func spans(nrs []uint32, listed, other uint32) []span {
	out := []span{{0, other}}
	add := func(from, action uint32) {
		if last := len(out) - 1; out[last].from == from {
			out[last].action = action
		} else if out[last].action != action {
			out = append(out, span{from, action})
		}
	}
	for _, n := range nrs {
		add(n, listed)
		add(n+1, other)
	}
	return merge(out)
}

// merge joins neighbours with the same action.
func merge(in []span) []span {
	out := in[:1]
	for _, s := range in[1:] {
		if s.action != out[len(out)-1].action {
			out = append(out, s)
		}
	}
	return out
}

// tree decides by binary search: about ten instructions a call instead of one
// for each listed name.
func tree(s []span) Program {
	if len(s) == 1 {
		return Program{ret(s[0].action)}
	}
	mid := len(s) / 2
	low, high := tree(s[:mid]), tree(s[mid:])
	var prog Program
	if len(low) <= 255 {
		prog = Program{jumpNotLess(s[mid].from, uint8(len(low)), 0)}
	} else {
		prog = Program{jumpNotLess(s[mid].from, 0, 1), jump(uint32(len(low)))}
	}
	return append(append(prog, low...), high...)
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

func jump(n uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: n}
}

func jumpEqual(k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

func jumpNotLess(k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: k, Jt: yes, Jf: no}
}
