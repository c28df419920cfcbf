// SPDX-License-Identifier: Apache-2.0

// Package host is the side of stage1-kvm that runs on the host: the run
// entrypoint, which becomes the supervisor of a virtual machine, and enter,
// which reaches programs inside through it.
//
// Words: the machine is the process of qemu; the shares are the directories
// that virtiofsd shows it; the guest is what runs inside, which is package
// guest and then a whole stage1-coreos; a session is a program of the guest's
// that has streams here.
//
// What the guest can touch: the tree of stage1 in the pod directory with the
// apps' roots in it, the pod's volumes, its network cards. The pod directory
// itself and what later commands trust in it (process IDs, cgroups, records of
// networks) are out of its reach.
//
// Source: spec stage1-flavors.md C and E.3, networking.md 11, ADR 23.
package host
