// SPDX-License-Identifier: Apache-2.0

// Package hostport holds the host ports that a pod forwards, as long as the pod
// runs.
//
// Firewall rules take connections to a forwarded port away before any socket
// sees them, and nothing tells that the port is in use: another program can bind
// it and never be reached. Therefore the pod's supervisor holds a socket for each
// port, in the host's network namespace: a listening one for TCP, a bound one
// for UDP and SCTP. A port that somebody else has is an error before the pod
// starts, and tools such as ss(8) name the holder.
//
// What rules do not take away, connections from ::1 and all of them when the
// host's rules are flushed, reaches the sockets. TCP connections are passed on
// to the pod by Serve. UDP and SCTP are not passed on: datagrams are dropped by
// the kernel.
//
// The package is part of a process that stays: it needs no more than the
// standard library and system calls.
//
//	held, err := hostport.Reserve(ports) // connections wait
//	defer held.Close()
//	err = held.Complete() // the networks are set up
//	held.Serve(podAddress) // the pod is ready
package hostport
