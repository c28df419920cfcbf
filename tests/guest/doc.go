// SPDX-License-Identifier: Apache-2.0

// Package guest runs pods on hosts that this machine is not: with the unified
// cgroup hierarchy (v2) alone, with the old ones (v1) alone and iptables in place
// of nf_tables, and with systemd as PID 1, of Debian 12 and of 13. Each host is a
// virtual machine under qemu with the kernel of this machine's Debian, without
// hardware virtualisation if there is none.
//
// Words: the kernel is that of Debian's linux-image-cloud package, downloaded
// once and unpacked in the cache, never installed; the disk is an ext4 image
// with rkt, busybox and the checks, which are an ordinary test program (package
// checks); init is the program that mounts what a host has mounted, runs the
// checks and switches the machine off. What the checks print on the serial
// console is what this package's tests report.
//
//	make guest
//
// Needs root and the packages of "make deps-guest".
package guest
