// SPDX-License-Identifier: Apache-2.0

// Package vm runs pods on hosts that this machine is not: with the unified
// cgroup hierarchy (v2) alone, with the old ones (v1) alone and iptables in place
// of nf_tables, and Debian 12 and Debian 13 with systemd as PID 1, journald,
// machined, D-Bus and their own kernels. Each host is a virtual machine under
// qemu, under KVM if a kernel really boots there, else emulated.
//
// Words: the kernel is that of a release's linux-image-cloud package, downloaded
// once and unpacked in the cache, never installed; the image is an ext4 file
// system of a Debian, made by debootstrap, kept in the cache and made anew when
// what goes into it changes, and never written to; the first disk is an ext4
// image made for a run, with rkt, test programs and tasks.json, which names the
// tasks: programs to run. init is the program that mounts what a host has
// mounted, runs the tasks and resets the machine. What test programs print on
// the serial console is what this package's tests report: one for each of
// the guest's.
//
// There are two kinds of tasks: the checks (package checks), which change the
// machine they run on, and packages of functional tests as they run everywhere.
//
//	make vm         all of it
//	make vm-short   some of the checks on Debian 12: part of make check
//
// Needs root and the packages of "make deps-vm".
//
//	RKT_VM_RUN=/network go test -tags vm -run TestDebian12 ./tests/vm   one check
//	RKT_VM_SUITE=TestNet go test -tags vm -run TestSuite13 ./tests/vm   some functional tests
//	RKT_VM_ACCEL=tcg                                                    no probing
package vm
