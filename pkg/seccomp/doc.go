// SPDX-License-Identifier: Apache-2.0

// Package seccomp makes system call filters (seccomp(2)) from lists of names.
//
// Words: a policy is the plain decision (which calls, what answer); a wildcard
// is a name such as @rkt/default-whitelist that stands for a list; a program
// is the policy as classic BPF for the native system call table and the
// 32-bit one beside it.
//
// Invariants: a name or wildcard that does not exist anywhere is an error; one
// that this architecture merely lacks is skipped. A call made through a table
// that the program does not know (x32, a foreign architecture) gets the
// policy's denial. What a program needs to be executed at all is in every
// allow list.
//
// arch_*.go, known.go and groups.go are tables of facts: the kernel's system
// call numbers and the groups of systemd.exec(5).
//
//	p, err := seccomp.NewPolicy(seccomp.Remove, []string{"mount"}, "EPERM")
//	prog, err := p.Compile()
//	err = prog.Load() // on a locked thread, last thing before execve
package seccomp
