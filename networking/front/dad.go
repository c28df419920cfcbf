// SPDX-License-Identifier: Apache-2.0

package front

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// skipDAD has interfaces that are going to be made in a network namespace take
// their IPv6 addresses without asking whether somebody else has them. On a
// wire with two ends whose addresses were given out by one IPAM nobody does,
// and upstream would wait more than a second for the answer.
func skipDAD(netns string) error {
	done := make(chan error)
	go func() {
		// The thread stays locked, so it ends with this function.
		runtime.LockOSThread()
		err := enter(netns)
		if err == nil { // otherwise it would be the host's
			err = writeSysctl("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
		}
		done <- err
	}()
	return <-done
}

// enter moves the calling thread.
func enter(netns string) error {
	f, err := os.Open(netns)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
}
