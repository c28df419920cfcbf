// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// order appends what happened to the file in the host volume, which outlives
// the pod. The test made it, for all users.
func order(what string) error {
	f, err := os.OpenFile(expect.OrderFile, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, what)
	return first(err, f.Close())
}

// orderIs compares all that happened so far.
func orderIs(want ...string) func() error {
	return func() error {
		data, err := os.ReadFile(expect.OrderFile)
		if err != nil {
			return err
		}
		return same(strings.Join(strings.Fields(string(data)), " "), strings.Join(want, " "))
	}
}

// playHook is an event handler of main.
func playHook(name string) error {
	if err := order(name + "-begins"); err != nil {
		return err
	}
	run(name, hookChecks(name))
	time.Sleep(200 * time.Millisecond) // a main that does not wait for it is seen in the order
	return order(name + "-ends")
}

// hookChecks: lifecycle processes have the environment, the working directory
// and the file system of their app, and run as root of the pod.
func hookChecks(name string) []check {
	before := []string{"pre-start-begins"}
	if name == expect.RolePostStop {
		before = []string{"pre-start-begins", "pre-start-ends", "main-begins", "main-ends", "post-stop-begins"}
	}
	checks := []check{{"order", orderIs(before...)}, {"argv", argv([]string{expect.Program, name})}}
	checks = append(checks, envChecks(mainEnv())...)
	checks = append(checks,
		check{"working-directory", func() error { return workingDirectory(expect.MainDir) }},
		check{"user.uid", func() error { return ids("Uid", 0) }},
		check{"user.gid", func() error { return ids("Gid", 0) }},
		check{"process.descriptors", descriptors},
		check{"volume.host-read", volumeChecks()[0].ok},
		check{"volume.read-only", func() error { return notWritable(expect.RO) }},
		check{"names.hostname", nameChecks()[0].ok},
		check{"isolators.bounding-set", capabilities("CapBnd", expect.Mask(expect.DefaultCaps()))},
		check{"isolators.inheritable", capabilities("CapInh", 0)},
		check{"isolators.seccomp", statusIs("Seccomp", "2")},
	)
	return append(checks, rootChecks(expect.MainMarker, expect.SidekickMarker)...)
}
