// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// Warm takes the lock that the kernel takes to move a process: the first to do
// so waits for all processors (an RCU grace period), 10 ms and more, and those
// after it within about the same time do not. Nothing moves, for the calling
// thread is named where it is already, or, on v2 after a move of the process,
// where a thread cannot go. Naming it by 0 would not take the lock. The thread has
// to end afterwards: on v1 it does move if the process has been moved meanwhile.
func (p *Pod) Warm() error {
	var errs []error
	for i := range p.host.hierarchies {
		hi := &p.host.hierarchies[i]
		file := "tasks"
		if hi.v2 {
			file = "cgroup.threads"
		}
		err := p.host.fs.write(path.Join(hi.own, file), strconv.Itoa(unix.Gettid()))
		if err == nil {
			return nil // the lock is one for all hierarchies
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
