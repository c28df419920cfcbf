// SPDX-License-Identifier: Apache-2.0

package podplan

import "slices"

// Masks are paths of an app's root that are closed to it, where they exist
// (spec apps.md 3.2 and 15).
type Masks struct {
	ReadOnly     []string
	Inaccessible []string
}

// DefaultMasks are those of every app.
func DefaultMasks() *Masks {
	return &Masks{ReadOnly: slices.Clone(readOnlyPaths[:]), Inaccessible: slices.Clone(inaccessiblePaths[:])}
}

var readOnlyPaths = [...]string{
	"/proc/bus", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/sysrq-trigger",
	"/proc/fs", "/proc/irq", "/proc/sys",
	"/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/kernel",
}

var inaccessiblePaths = [...]string{
	"/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmem",
	"/proc/latency_stats", "/proc/mem", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs", "/sys/hypervisor", "/sys/module", "/sys/power",
}
