// SPDX-License-Identifier: Apache-2.0

// Package agent is the protocol between the supervisor of a pod in a virtual
// machine and the first program of its guest, over one virtio-serial port. Both
// ends are here.
//
// Words: the host is the supervisor, the guest the program in the machine; a
// session is a program that the guest runs for the host, with its standard
// streams; a window is how much of a stream may be on its way.
//
// The guest is hostile: it may run anything. A frame has a size that is checked
// before anything is kept, its kind has to be one that a guest sends, a session
// has to be one that the host has opened, and a stream has no more than a
// window. Anything else ends the machine: there is no resynchronisation.
//
// Each frame has a header of 12 bytes, numbers in network order, and a body:
//
//	0  kind       1 byte
//	1  stream     1 byte: 0, 1 or 2 as standard streams are numbered
//	2  zero       2 bytes
//	4  session    4 bytes, 0 for the machine as a whole
//	8  length     4 bytes, of the body, at most 65536
//
// A machine's life: the guest says Hello; the host answers Setup; the guest says
// Ready, or Fault and why; the host opens sessions; each ends with an EOF for
// both output streams and then an Exit. Off powers the machine off.
package agent
