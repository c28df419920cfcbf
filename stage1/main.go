// SPDX-License-Identifier: Apache-2.0

// A program that is gone after a few milliseconds, or sleeps, needs no CPU
// count by cgroup, and no files open for it.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command stage1 is every program of the images stage1-coreos and stage1-host:
// the entrypoints that rkt calls on the host, and the helpers inside a pod.
package main

import (
	"errors"
	"os"
	"path"
	"runtime"

	"github.com/rkt/rkt/v2/stage1/internal/entry"
)

// statusFailed is the exit status of every failure of rkt itself.
const statusFailed = 254

func main() {
	// Credentials, capabilities, filters and namespaces belong to a thread;
	// the thread that sets them is the one that executes the app. It is the
	// main one, which is what /proc/PID shows of this process.
	runtime.LockOSThread()
	name := path.Base(os.Args[0])
	err := entry.Main(name, os.Args)
	if err == nil {
		return
	}
	var status entry.StatusError
	if errors.As(err, &status) {
		os.Exit(int(status))
	}
	_, _ = os.Stderr.WriteString(entry.Prefix(name) + ": " + err.Error() + "\n")
	os.Exit(statusFailed)
}
