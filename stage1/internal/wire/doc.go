// SPDX-License-Identifier: Apache-2.0

// Package wire is what a program inside a pod and the pod's supervisor on the
// host say to each other over the supervisor's socket, both directions.
//
// One request and one answer, each one datagram of a sequenced-packet socket
// (unix(7)), so there are no partial messages. A request is fields separated by
// NUL bytes; descriptors travel beside it as SCM_RIGHTS. The supervisor trusts
// nothing of a request: Parse bounds and validates every field, and who sent it
// is asked of the kernel.
//
// Invariant: Parse(r.Marshal()) == r for every request that Marshal accepts.
package wire
