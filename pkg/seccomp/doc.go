// SPDX-License-Identifier: Apache-2.0

// Package seccomp makes system call filters (seccomp(2)) from lists of names.
//
// Words: a policy is the plain decision (which calls, what answer); the
// default list is what an app may call that asks for nothing; a wildcard is a
// name such as @rkt/default-whitelist that stands for a list; a rule refuses a
// listed call for some of its arguments; a program is the policy as classic
// BPF for the native system call table and the 32-bit one beside it.
//
// Invariants: a name or wildcard that does not exist anywhere is an error; one
// that this architecture merely lacks is skipped. A call made through a table
// that the program does not know (x32, a foreign architecture) is denied. What
// a program needs to be executed at all is in every allow list. A rule looks
// at as many bits of an argument as the kernel does.
//
// Default answers EPERM to what it denies and ENOSYS to what it does not know,
// so that a C library newer than the tables falls back; an isolator's list
// answers what the isolator says and kills if it says nothing. The wildcards
// @rkt/default-whitelist and @docker/default-whitelist are the whole default
// list, newer calls included; in a retain-set they come with its rules. To
// allow a call with every argument, name it beside the wildcard.
//
// Supervisor is the filter of a whole pod under systemd-nspawn, in the place
// of nspawn's own.
//
// arch_*.go, known.go and groups.go are tables of facts: the kernel's system
// call numbers and the groups of systemd.exec(5).
//
//	p := seccomp.Default(bounding)
//	p, err := seccomp.NewPolicy(seccomp.Remove, []string{"mount"}, "EPERM")
//	prog, err := p.Compile()
//	err = prog.Load() // on a locked thread, last thing before execve
package seccomp
