// SPDX-License-Identifier: Apache-2.0

// A program that is gone after some milliseconds needs no CPU count by cgroup.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command net is the program of stage1-coreos and stage1-host that does
// everything about the networks of a pod, on the host: it sets them up for the
// supervisor, takes them down for gc, checks and repairs them for "rkt net".
// Called by the name of a CNI plugin it is that plugin (package front).
package main

import (
	"context"
	"os"
	"path"

	"github.com/rkt/rkt/v2/networking/front"
)

// statusFailed is the exit status of every failure of rkt itself.
const statusFailed = 254

func main() {
	name := path.Base(os.Args[0])
	if front.IsPlugin(name) {
		os.Exit(front.Main(context.Background(), name, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	}
	if err := run(os.Args); err != nil {
		_, _ = os.Stderr.WriteString("net: " + err.Error() + "\n")
		os.Exit(statusFailed)
	}
}
