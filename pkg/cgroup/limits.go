// SPDX-License-Identifier: Apache-2.0

package cgroup

import "strconv"

// Controllers.
const (
	Memory = "memory"
	CPU    = "cpu"
	Pids   = "pids"
)

// Limits are what a group is held to. 0 means no limit.
type Limits struct {
	Memory     int64 // bytes
	MemoryLow  int64 // bytes kept from reclaim; v2 only
	CPU        int64 // thousandths of a core
	CPUShares  int64 // 2 to 262144, the scale of v1
	CPURequest int64 // thousandths of a core; used as weight if CPUShares is 0, v2 only
	Pids       int64
}

// setting is one control file and what to write into it.
type setting struct{ file, value string }

// settings are the writes for one controller, in order. One that asks for
// more than v1 can do is left out there: requests are hints, not limits.
func (l Limits) settings(controller string, v2 bool) []setting {
	switch {
	case controller == Memory && v2:
		return join(when(l.MemoryLow, "memory.low", l.MemoryLow), when(l.Memory, "memory.max", l.Memory))
	case controller == Memory:
		return when(l.Memory, "memory.limit_in_bytes", l.Memory)
	case controller == CPU && v2:
		return join(l.weight(), l.cpuMax())
	case controller == CPU:
		return join(when(l.CPUShares, "cpu.shares", l.CPUShares), l.cfs())
	case controller == Pids:
		return when(l.Pids, "pids.max", l.Pids)
	}
	return nil
}

func when(n int64, file string, value int64) []setting {
	if n == 0 {
		return nil
	}
	return []setting{{file, strconv.FormatInt(value, 10)}}
}

func join(lists ...[]setting) (all []setting) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// Weight turns cpu shares (v1) into a weight (v2), as systemd does.
func Weight(shares int64) int64 {
	return min(max(1+(shares-2)*9999/262142, 1), 10000)
}

func (l Limits) weight() []setting {
	shares := l.CPUShares
	if shares == 0 && l.CPURequest > 0 {
		shares = min(max(l.CPURequest*1024/1000, 2), 262144)
	}
	return when(shares, "cpu.weight", Weight(shares))
}

// quota is the CPU limit as microseconds of a period. The kernel takes no
// quota below 1000; a small limit gets a long period.
func (l Limits) quota() (quota, period int64) {
	period = 100_000
	if l.CPU < 10 {
		period = 1_000_000
	}
	return l.CPU * (period / 1000), period
}

func (l Limits) cpuMax() []setting {
	if l.CPU == 0 {
		return nil
	}
	q, p := l.quota()
	return []setting{{"cpu.max", strconv.FormatInt(q, 10) + " " + strconv.FormatInt(p, 10)}}
}

func (l Limits) cfs() []setting {
	if l.CPU == 0 {
		return nil
	}
	q, p := l.quota()
	return join(when(p, "cpu.cfs_period_us", p), when(q, "cpu.cfs_quota_us", q))
}

// Controllers lists what the limits need, in a fixed order.
func (l Limits) Controllers() []string {
	var need []string
	if l.Memory != 0 || l.MemoryLow != 0 {
		need = append(need, Memory)
	}
	if l.CPU != 0 || l.CPUShares != 0 || l.CPURequest != 0 {
		need = append(need, CPU)
	}
	if l.Pids != 0 {
		need = append(need, Pids)
	}
	return need
}
