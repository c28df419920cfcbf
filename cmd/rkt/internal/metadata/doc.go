// SPDX-License-Identifier: Apache-2.0

// Package metadata is the metadata service of the App Container specification
// and rkt's client of it. Source: spec services.md 1.
//
// # Words
//
// A registration is what the service knows about a pod: token, manifests, and
// where its directory is. The registration interface is a unix socket for root,
// the public interface a TCP port for pods. The token is the first part of
// every public path and stands for the pod.
//
// # Invariants
//
// The files in the pod directory are the truth: the token is in the file
// mds-token there, and the service holds nothing that it could not read again
// after it was killed. A registration without a pod directory, made by another
// client than rkt, is held in memory only.
//
// A token is worth something as long as somebody holds the lock of the pod, and
// only from the addresses of the pod. Nothing that a pod sends is used as the
// name of a file. No token is ever logged.
//
// # Lock order
//
// The lock of the service (one runs at a time), then registry.mu. No file is
// read under registry.mu.
package metadata
