// SPDX-License-Identifier: Apache-2.0

// Package supervise is the run entrypoint of the nspawn flavors. The process
// that was "rkt run" prepares the pod, starts systemd-nspawn as its child and
// stays as the pod's supervisor, on the host's side, out of the pod's reach.
//
// Words: the supervisor is this process; the leader is PID 1 of the pod, its
// systemd; a launch is the program that starts an app inside the pod and asks
// the supervisor for the app's standard streams.
//
// What it does: it holds the pod's lock and the caller's terminal; prints and
// keeps what the apps write; puts apps under limits that the pod's systemd
// cannot set; writes exit statuses; decides when the pod ends and with which
// status; forwards readiness, signals and terminals.
//
// One goroutine, the loop, owns the state of the apps; everything else sends it
// events. The main thread is in the pod's mount namespace: whatever names a
// path of the pod's runs there before the loop starts, or goes through
// descriptors opened then.
//
// Crash safety: systemd-nspawn dies with this process (PR_SET_PDEATHSIG), and
// the pod with it. Every file that later commands need is written before the
// process that it tells of exists, or renamed into place.
//
// Source: spec stage1.md 4 to 7, stage1-flavors.md A, apps.md 11 to 13, ADR 11.
package supervise
