// SPDX-License-Identifier: Apache-2.0

// Package uidrange chooses the range of host IDs that is a pod's user namespace.
//
// Words: a range is Count IDs from Start up, the same ones for users and for
// groups. The pool is what ranges are taken from: the subordinate IDs of the
// user rkt (subuid(5), subgid(5)) if there are any, else the IDs that systemd
// sets aside for containers (0x00080000 to 0x6FFFFFFF). A pod gets a block of
// the pool, of Size IDs; blocks are counted from the beginning of each part of
// the pool, so that also the usual 100000:65536 holds one. Those of the default
// pool are multiples of Size.
//
// Invariant: a block that is chosen has no ID of another pod, of a user or
// group of the host's files, or of the subordinate IDs of somebody else.
//
// A pod keeps its range as long as it exists. The caller holds a lock from
// before it looks which ranges are taken until the new one is recorded.
//
//	host, err := uidrange.ReadHost("/etc")
//	r, err := host.Choose(takenByPods, random)
package uidrange
