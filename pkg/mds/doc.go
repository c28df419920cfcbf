// SPDX-License-Identifier: Apache-2.0

// Package mds is what the metadata service, rkt as its client and stage1 have
// in common: where its files are below /run/rkt, on which port it answers, what
// URL a pod is told, and what a token is. Source: spec services.md 1.
//
// Invariants: nothing here needs the service to run. An endpoint is the port
// that the service used last; a pod that was told a URL keeps it.
package mds
