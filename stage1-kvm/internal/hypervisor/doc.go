// SPDX-License-Identifier: Apache-2.0

// Package hypervisor puts together how the programs of a virtual machine are
// called: qemu, which is the machine, and virtiofsd, which shares directories
// with it. It is pure but for Probe, which finds out whether the processor's
// virtualisation can be used.
//
// The machine is a q35 with an uncompressed kernel started directly (PVH),
// without firmware of interest, graphics, disks or defaults of the
// distribution's.
//
// Source: qemu(1), the vhost-user-fs and virtiofsd documents of qemu 7.2, spec
// stage1-flavors.md C.2 and E.3.
package hypervisor
