// SPDX-License-Identifier: Apache-2.0

// Package torture holds the tests that do to rkt what machines do: kill it at
// every durable step, fill the disk, fail writes, run many of it at once.
// After each of these the same command has to succeed, `image fsck` has to be
// clean and gc has to leave nothing.
//
// The tests are behind the build tag "functional" and use a rkt built with the
// tag "failpoint" (see package failpoint). The names of the failpoints are
// taken from a first run of each command, so a new one is tested as soon as it
// exists. TORTURE=long runs the long form.
package torture
