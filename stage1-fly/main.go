// SPDX-License-Identifier: Apache-2.0

// A program that is gone after two milliseconds needs no CPU count by cgroup,
// and no files open for it.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

package main

import (
	"errors"
	"os"
	"path"
	"runtime"
	"runtime/debug"

	"github.com/rkt/rkt/v2/stage1-fly/internal/fly"
)

// statusFailed is the exit status of every failure of rkt itself.
const statusFailed = 254

func main() {
	// Credentials, capabilities, filters and namespaces belong to a thread;
	// the thread that sets them is the one that executes the app.
	runtime.LockOSThread()
	// The program ends, or becomes the app, before there is garbage.
	debug.SetGCPercent(-1)

	name := path.Base(os.Args[0])
	if err := fly.Main(name, os.Args); err != nil {
		if !errors.Is(err, fly.ErrSaid) {
			_, _ = os.Stderr.WriteString(name + ": " + err.Error() + "\n")
		}
		os.Exit(statusFailed)
	}
}
