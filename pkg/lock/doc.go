// SPDX-License-Identifier: Apache-2.0

// Package lock takes advisory locks (flock(2)) on directories and files.
//
// A lock belongs to the open file description: it survives rename, fork and
// exec and ends when the last duplicate of the descriptor is closed. All
// descriptors are opened close-on-exec; Keep clears that for a lock that is to
// survive an exec.
//
// Order, outermost first (spec pods.md 3.3, images.md 13): CAS directory,
// prepare lock, download lock, pod lock, manifest lock, tree lock, image lock,
// database lock.
package lock
