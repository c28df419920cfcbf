// SPDX-License-Identifier: Apache-2.0

// Package harness is what the functional tests, the torture tests and the
// benchmarks share: running rkt, making images, real registries, comparing
// trees and looking for what was left behind.
//
// Words: a Host is one rkt data directory with configuration directories of
// its own, so that tests neither see each other nor the machine's pods. The
// cache (environment RKT_CACHE) holds what is dear to make and the same every
// time: Debian root file systems as OCI layouts.
//
// Everything needs root. Nothing needs more of the network than the Debian
// mirror this machine's apt uses, and that only while the cache is empty.
package harness

// T is the part of testing.TB that the harness needs; the benchmark program
// brings its own.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}
