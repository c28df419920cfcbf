// SPDX-License-Identifier: Apache-2.0

// Package devfilter says which device nodes the processes of a cgroup may
// make, read and write, and has the kernel enforce it: with a BPF program on
// a cgroup of version 2, with the devices controller on one of version 1.
//
// Words: a rule allows access to the devices it matches; what no rule allows
// is refused with EPERM. Access is made of r (read), w (write) and m (mknod).
//
// Invariants: rules of one device add up, as they do in the devices
// controller, so both ways decide the same. A group stays bound by its
// parents: attaching never widens what they allow.
//
//	rules := append(devfilter.Closed(), devfilter.Rule{Type: 'b', Major: 8, Minor: 0, Access: "r"})
//	err := devfilter.Attach("/sys/fs/cgroup/unified/machine-rkt-….scope", rules)
package devfilter
