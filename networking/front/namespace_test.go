// SPDX-License-Identifier: Apache-2.0

package front

import "runtime"

// inNamespace runs f on a thread that is in a named network namespace, and so
// are the processes that f starts. The thread is thrown away.
func inNamespace(name string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := enter("/var/run/netns/" + name)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
