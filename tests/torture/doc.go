// SPDX-License-Identifier: Apache-2.0

// Package torture holds the tests that do to rkt what machines do: kill it at
// every durable step, fill the disk, fail writes, run many of it at once.
// After each of these the same command has to succeed, `image fsck` has to be
// clean and gc has to leave nothing.
//
// Pods under systemd-nspawn have tests of their own (pod*_test.go): there rkt,
// the supervisor, stage1's programs and those inside the pod are killed, by
// failpoints and at any time, and what a pod may leave on the machine is looked
// for (harness.Host.PodTraces).
//
// The tests are behind the build tag "functional" and use a rkt built with the
// tag "failpoint" (see package failpoint), which has a stage1-coreos inside that
// is built with it, too. The names of the failpoints are taken from a first run
// of each command, so a new one is tested as soon as it exists. TORTURE=long
// runs the long form; its 200 pods at once need more inotify instances than
// the kernel's default, and the test raises that limit while it runs.
package torture
