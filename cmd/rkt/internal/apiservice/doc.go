// SPDX-License-Identifier: Apache-2.0

// Package apiservice serves the read-only gRPC API (package v1alpha) about the
// pods and images of one data directory (spec services.md 2).
//
// Invariants: nothing below the data directory is written, and no exclusive
// lock is taken, so the service needs no more rights than those of a member of
// the group rkt, and neither its end nor its absence matters to any pod. Every
// answer is read from the files anew; a pod with files that are missing or
// garbled is told as far as it is known, and never fails a list. What clients can
// make the service hold is bounded: sizes of messages, numbers of streams,
// events that wait for a slow reader.
//
// Words: a pod's place is its state directory; the watcher compares what it sees
// with what it saw before, and the differences are the events. inotify(7) only
// tells it when to look, so a lost notification costs time and no event.
package apiservice
