// SPDX-License-Identifier: Apache-2.0

// Package guest is the first program of a virtual machine that has a pod.
//
// The machine is a host with one pod: the kernel starts this program from a
// small initramfs, it loads the modules, mounts what the real host shares by
// virtiofs, makes a pod directory in which the tree of stage1 is that share,
// sets up the network cards in a network namespace, and then runs the programs
// of stage1-coreos, unmodified, when the real host asks for them (package
// agent). There is no shell, no login and no listening port.
//
// Two processes: PID 1 reaps and powers the machine off when the other, which
// does everything else, has ended.
package guest
