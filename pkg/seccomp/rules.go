// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// rule refuses an otherwise allowed call because of its arguments.
type rule struct {
	call   string
	refuse []condition // all must hold; none: the call is always refused
	errno  unix.Errno
	what   string // what is refused, for people
}

// condition is about one argument. Every argument looked at here is an int or
// unsigned int of the kernel's, or used as one: it ignores the high half of
// the register, and so does a condition. A comparison of all 64 bits would be
// passed by setting one of those.
type condition struct {
	arg    uint32
	bits   uint32   // if not 0: one of these bits is set
	values []uint32 // the argument is one of these,
	not    bool     // or none of these
}

// newNamespace are the CLONE_NEW… flags of clone(2). CLONE_NEWTIME is not
// among them: its bit is part of the exit signal there.
const newNamespace = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Sub-calls of socketcall(2), from linux/net.h.
const (
	subSocket     = 1
	subSocketpair = 8
)

// tioclinux is TIOCLINUX: it pastes the selection of a virtual console.
const tioclinux = 0x541c

// The values of personality(2) that programs need: PER_LINUX, PER_LINUX32,
// either with UNAME26, and the question for the present one.
var personalities = []uint32{perLinux, perLinux32, uname26, uname26 | perLinux32, 0xffffffff}

const (
	perLinux   = 0
	perLinux32 = 0x0008
	uname26    = 0x20000
)

var unsafeFamilies = []condition{{values: []uint32{unix.AF_ALG, unix.AF_VSOCK}}}

// rules are what the default list says about arguments, sorted by call.
var rules = [...]rule{
	{"clone", []condition{{bits: newNamespace}}, unix.EPERM, "CLONE_NEW*"},
	// Its flags are behind a pointer, which a program cannot follow. On
	// ENOSYS the C libraries use clone.
	{"clone3", nil, unix.ENOSYS, ""},
	{"ioctl", []condition{{arg: 1, values: []uint32{unix.TIOCSTI, tioclinux}}}, unix.EPERM, "TIOCSTI, TIOCLINUX"},
	{"personality", []condition{{values: personalities, not: true}}, unix.EPERM, "other than PER_LINUX and PER_LINUX32"},
	// The answer is that of a kernel without these families.
	{"socket", unsafeFamilies, unix.EAFNOSUPPORT, "AF_ALG, AF_VSOCK"},
	// The family is behind a pointer, so no socket is made this way at all;
	// what works on a socket stays.
	{"socketcall", []condition{{values: []uint32{subSocket, subSocketpair}}}, unix.ENOSYS, "SYS_SOCKET, SYS_SOCKETPAIR"},
	// It makes the sockets before it finds that they cannot be a pair.
	{"socketpair", unsafeFamilies, unix.EAFNOSUPPORT, "AF_ALG, AF_VSOCK"},
}

// ruleOf is the default list's rule for a call, nil if there is none.
func ruleOf(name string) *rule {
	i := slices.IndexFunc(rules[:], func(r rule) bool { return r.call == name })
	if i < 0 {
		return nil
	}
	return &rules[i]
}

// ruled are the calls that have a rule.
func ruled() []string {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = r.call
	}
	return names
}

// on is the answer to a call that had the given one without the rule.
func (r *rule) on(a answer) answer {
	switch {
	case len(r.refuse) == 0:
		return answer{action: deny(r.errno)}
	case a.action != retAllow:
		return a
	}
	return answer{action: a.action, rule: r}
}
