// SPDX-License-Identifier: Apache-2.0

package hypervisor

import "github.com/rkt/rkt/v2/pkg/isolator"

// Size is what the machine has.
type Size struct {
	CPUs   int
	Memory int // MiB
}

const (
	mib = 1 << 20
	// overhead is what the guest's kernel and systemd take, minMemory what a
	// machine has at least (MiB, spec stage1-flavors.md C.2).
	overhead  = 128
	minMemory = 512
	// maxCPUs is what one q35 of this version takes.
	maxCPUs = 255
)

// SizeOf decides the size of a machine for apps with these limits. An app
// without a limit asks for nothing; a limit of the whole pod counts instead of
// the sum where it is smaller.
func SizeOf(apps []*isolator.Plan, pod *isolator.Plan, hostCPUs int) Size {
	var cpus, memory int64
	for _, p := range apps {
		cpus += cores(p)
		memory += megabytes(p)
	}
	if n := cores(pod); n > 0 && (cpus == 0 || n < cpus) {
		cpus = n
	}
	if n := megabytes(pod); n > 0 && (memory == 0 || n < memory) {
		memory = n
	}
	host := int64(max(1, min(hostCPUs, maxCPUs)))
	if cpus <= 0 || cpus > host {
		cpus = host
	}
	return Size{CPUs: int(cpus), Memory: int(max(memory+overhead, minMemory))}
}

// cores is the limit of processor time in whole cores, rounded up.
func cores(p *isolator.Plan) int64 {
	if p == nil || p.CPU == nil || p.CPU.Limit <= 0 {
		return 0
	}
	const milli = 1000
	return p.CPU.Limit/milli + min(1, p.CPU.Limit%milli)
}

func megabytes(p *isolator.Plan) int64 {
	if p == nil || p.Memory == nil || p.Memory.Limit <= 0 {
		return 0
	}
	const most = 1 << 24 // 16 TiB: a sum that cannot run over
	return min(p.Memory.Limit/mib, most)
}
