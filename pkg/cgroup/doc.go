// SPDX-License-Identifier: Apache-2.0

// Package cgroup makes, limits, fills and removes the control group of a pod,
// on hosts with the unified hierarchy (v2), the old ones (v1) or both.
//
// Words: a controller is memory, cpu, pids or io; a hierarchy is one mount of type
// cgroup or cgroup2 with the controllers it has; a group is the pod's
// directory in each hierarchy that it needs, all of one name, below the
// cgroup that the calling process is in.
//
// On v2 a cgroup with processes cannot hand controllers to children (no
// internal processes, cgroups(7)). Make then tries, in this order: the own
// cgroup as it is; the own cgroup after moving this process, if it is alone
// there, into the new one; the parent, and so on up. A cgroup that has limits is
// never left, because what it holds its processes to would bind the new one no
// more: a *SharedError then. MakePod does the same, but a pod that needs no
// controller stays below the own cgroup in any case.
//
// Where systemd runs the host it makes the cgroups, and decides which
// controllers they have: a pod that is a service has the service's cgroup, one
// that is started among other processes, as in a session, a scope of its own.
//
// Invariants: every directory is reported through the record function before
// it is made, so that a crash leaves none that nobody knows (what systemd makes
// systemd removes); Remove and Kill
// touch only directories whose last component is the name they are given.
//
// Making and joining a cgroup costs 10 ms and more on some kernels (it waits
// for all processors): callers do it only for a limit that was asked for.
package cgroup
