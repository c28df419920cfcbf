// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"cmp"
	"errors"
	"fmt"
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

// needed is in every allow list (spec apps.md 9): what it takes to execute a
// program and let it exit.
var needed = [...]string{
	"clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
	"clock_nanosleep_time64", "execve", "exit", "exit_group", "getrlimit", "gettimeofday", "nanosleep",
	"pause", "prlimit64", "restart_syscall", "rt_sigreturn", "sigreturn", "time", "ugetrlimit",
}

// answer is what a program says to a call: action, unless the call has a rule
// and its arguments are what that refuses.
type answer struct {
	action uint32
	rule   *rule
}

// decider answers the calls of a table.
type decider struct {
	named   func(name string) answer
	unnamed uint32 // to a number that no call of the table has
	foreign uint32 // to a call through a table that is not ours
}

// Compile makes the program of a policy, nil if it is unfiltered.
func (p Policy) Compile() (Program, error) {
	if p.Unfiltered {
		return nil, nil
	}
	for _, name := range p.Guarded {
		if ruleOf(name) == nil {
			return nil, fmt.Errorf("no rule about the arguments of %q", name)
		}
	}
	denied := deny(p.Errno)
	d := decider{unnamed: denied, foreign: denied, named: func(name string) answer {
		a := answer{action: denied}
		if p.listed(name) == (p.Mode == Retain) {
			a.action = retAllow
		}
		if slices.Contains(p.Guarded, name) {
			return ruleOf(name).on(a)
		}
		return a
	}}
	if p.Mode == Remove {
		d.unnamed = retAllow
	}
	if p.Unknown != 0 {
		d.unnamed, d.foreign = deny(p.Unknown), deny(p.Unknown)
	}
	return d.compile()
}

func (p Policy) listed(name string) bool {
	_, ok := slices.BinarySearch(p.Calls, name)
	if !ok && p.Mode == Retain {
		_, ok = slices.BinarySearch(needed[:], name)
	}
	return ok
}

func (d decider) compile() (Program, error) {
	tables := abis()
	if len(tables) == 0 {
		return nil, ErrUnsupported
	}
	var a assembler
	start := a.leaf(answer{action: d.foreign})
	for _, t := range slices.Backward(tables) {
		section := a.tree(d.spans(t))
		if t.limit != 0 {
			// Numbers of another table that come under this architecture.
			foreign := a.leaf(answer{action: d.foreign})
			section = a.branch(unix.BPF_JGE, t.limit, foreign, section)
		}
		a.follow(section)
		section = a.emit(load(offsetNr))
		start = a.branch(unix.BPF_JEQ, t.arch, section, start)
	}
	a.emit(load(offsetArch))
	return a.finish(), nil
}

// span is a range of call numbers from "from" to the next span.
type span struct {
	from   uint32
	answer answer
}

// spans are the answers to all numbers of a table, neighbours with the same
// answer joined.
func (d decider) spans(t abi) []span {
	rest := answer{action: d.unnamed}
	given := make([]span, len(t.calls))
	for i, c := range t.calls {
		given[i] = span{c.nr, d.named(c.name)}
	}
	slices.SortFunc(given, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	out := append(make([]span, 0, len(given)), span{0, rest})
	add := func(s span) {
		switch last := &out[len(out)-1]; {
		case last.answer == s.answer:
		case last.from == s.from:
			last.answer = s.answer
		default:
			out = append(out, s)
		}
	}
	next := uint32(0)
	for _, s := range given {
		if s.from != next {
			add(span{next, rest})
		}
		add(s)
		next = s.from + 1
	}
	add(span{next, rest})
	return out
}
