// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Controllers.
const (
	Memory = "memory"
	CPU    = "cpu"
	Pids   = "pids"
	IO     = "io" // called blkio on v1
)

// blkio is what v1 calls the controller IO.
const blkio = "blkio"

// Limits are what a group is held to. 0 means no limit.
type Limits struct {
	// Memory is how many bytes of memory and swap together the group may use:
	// a limit that lets the group swap instead is no limit on what it takes.
	Memory     int64
	MemoryLow  int64 // bytes kept from reclaim; v2 only
	CPU        int64 // thousandths of a core
	CPUShares  int64 // 2 to 262144, the scale of v1
	CPURequest int64 // thousandths of a core; used as weight if CPUShares is 0, v2 only
	Pids       int64 // processes and threads
	IOWeight   int64 // 1 to 10000, the scale of v2
}

// setting is one control file and what to write into it. Files other than the
// first are tried in turn where the kernel has not got the one before.
type setting struct {
	file, value string
	or          *setting
	// optional: that the kernel lacks the file means there is nothing to limit.
	optional bool
}

// settings are the writes for one controller, in order. One that asks for
// more than v1 can do is left out there: requests are hints, not limits.
func (l Limits) settings(controller string, v2 bool) []setting {
	switch {
	case controller == Memory && v2:
		return join(when(l.MemoryLow, "memory.low", l.MemoryLow), when(l.Memory, "memory.max", l.Memory), l.swap("memory.swap.max", 0))
	case controller == Memory:
		// In this order: the limit with swap cannot be below the one without.
		return join(when(l.Memory, "memory.limit_in_bytes", l.Memory), l.swap("memory.memsw.limit_in_bytes", l.Memory))
	case controller == CPU && v2:
		return join(l.weight(), l.cpuMax())
	case controller == CPU:
		return join(when(l.CPUShares, "cpu.shares", l.CPUShares), l.cfs())
	case controller == Pids:
		return when(l.Pids, "pids.max", l.Pids)
	case controller == IO && l.IOWeight != 0:
		return []setting{ioWeight(l.IOWeight, v2)}
	}
	return nil
}

// swap is the limit on swap, v2, or on memory and swap, v1. A kernel that does
// not account for swap has no such file, and usually no swap.
func (l Limits) swap(file string, n int64) []setting {
	if l.Memory == 0 {
		return nil
	}
	return []setting{{file: file, value: strconv.FormatInt(n, 10), optional: true}}
}

// ioWeight is written where the scheduler in use listens: the cost model of
// v2, or BFQ, or the scheduler of old kernels that only v1 has.
func ioWeight(weight int64, v2 bool) setting {
	bfq := strconv.FormatInt(scale(weight, 1, 100, 1000), 10)
	if v2 {
		return setting{file: "io.weight", value: strconv.FormatInt(weight, 10), or: &setting{file: "io.bfq.weight", value: bfq}}
	}
	old := strconv.FormatInt(scale(weight, 10, 500, 1000), 10)
	return setting{file: "blkio.bfq.weight", value: bfq, or: &setting{file: "blkio.weight", value: old}}
}

// scale maps the weights of v2 onto another range: the default of 100 onto the
// default there, so that asking for it changes nothing, and in a straight line
// on both sides of it.
func scale(weight, low, normal, high int64) int64 {
	const lowest, middle, highest = 1, 100, 10000
	if weight <= middle {
		return low + (weight-lowest)*(normal-low)/(middle-lowest)
	}
	return normal + (weight-middle)*(high-normal)/(highest-middle)
}

func when(n int64, file string, value int64) []setting {
	if n == 0 {
		return nil
	}
	return []setting{{file: file, value: strconv.FormatInt(value, 10)}}
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
	return []setting{{file: "cpu.max", value: strconv.FormatInt(q, 10) + " " + strconv.FormatInt(p, 10)}}
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
	if l.IOWeight != 0 {
		need = append(need, IO)
	}
	return need
}

// apply writes the settings of a controller into a directory.
func (l Limits) apply(f filesystem, dir, controller string, v2 bool) error {
	for _, s := range l.settings(controller, v2) {
		if err := s.write(f, dir); err != nil {
			return fmt.Errorf("limit %s: %w", controller, explain(err, controller))
		}
	}
	return nil
}

func (s setting) write(f filesystem, dir string) error {
	err := f.write(path.Join(dir, s.file), s.value)
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case s.or != nil:
		return s.or.write(f, dir)
	case s.optional:
		return nil
	}
	return err
}

// explain adds what the kernel means.
func explain(err error, controller string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &NoControllerError{Controller: controller, Cause: err}
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: the processes in the group use more than that already", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("%w: the kernel refuses this value", err)
	}
	return err
}

// has tells whether the hierarchy has a controller.
func (hi *hierarchy) has(controller string) bool {
	if controller == IO && !hi.v2 {
		controller = blkio
	}
	return slices.Contains(hi.controllers, controller)
}

// Check returns a *NoControllerError unless the kernel can apply what the
// limits ask of a controller of the group. A controller may be there without a
// part that depends on how the kernel was built or what the disks use: io weights.
func (g *Group) Check(controller string, l Limits) error {
	for _, d := range g.dirs {
		if !slices.Contains(d.controllers, controller) {
			continue
		}
		for _, s := range l.settings(controller, d.v2) {
			if err := s.check(g.fs, d.path); err != nil {
				return &NoControllerError{Controller: controller, Cause: err}
			}
		}
		return nil
	}
	return &NoControllerError{Controller: controller}
}

// check looks whether one of the files is there. Whether it can be read does
// not matter.
func (s setting) check(f filesystem, dir string) error {
	_, err := f.read(path.Join(dir, s.file))
	switch {
	case !errors.Is(err, fs.ErrNotExist), s.optional:
		return nil
	case s.or != nil:
		return s.or.check(f, dir)
	}
	return err
}
