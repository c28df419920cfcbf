// SPDX-License-Identifier: Apache-2.0

// Package pod owns the life cycle of pods: their states, the moves between
// states, locks, and everything that is read from a pod directory.
//
// # Words
//
// A pod is a directory DATA/pods/DIR/UUID. The name of DIR together with
// whether somebody holds an exclusive lock on the pod directory is the pod's
// [State]; nothing else records it. A pod is finished when it cannot run any
// more. The readable stage1 tree is where files that stage1 wrote are found
// whether or not anything is mounted.
//
// # Invariants
//
// A pod directory moves by one rename(2) and only forward: embryo, prepare,
// prepared, run, exited-garbage or garbage, gone. Every move is made by a
// holder of the exclusive lock, taken without waiting, after the directory was
// seen to be still where it was. A process that dies releases its lock, and
// that alone changes the state.
//
// All reads go through the descriptor of the pod directory and follow no
// symbolic link, so a concurrent move does not disturb them and a hostile pod
// cannot point them elsewhere. A file that vanishes while it is looked for
// means that the pod is being deleted, and reads as absent.
//
// # Lock order
//
// Prepare lock (package lock), pod lock, manifest lock (the file pod.lck).
//
//	p, err := pod.Open(ctx, "/var/lib/rkt", uuid)
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	if p.State() != pod.Running { … }
package pod
