// SPDX-License-Identifier: Apache-2.0

//go:debug containermaxprocs=0

// Command validator is the program of the images of tests/ace. Its first
// argument is the role it plays; what it finds it prints as lines "ok NAME"
// and "not ok NAME: why".
package main

import (
	"fmt"
	"os"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "validator: no role")
		os.Exit(99)
	}
	if err := play(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "validator: %s: %v\n", os.Args[1], err)
		os.Exit(98)
	}
}

func play(role string, args []string) error {
	switch role {
	case expect.RoleMain:
		return playMain()
	case expect.RoleSidekick:
		return playSidekick()
	case expect.RolePreStart, expect.RolePostStop:
		return playHook(role)
	case expect.RoleIsolator:
		return playIsolator(args)
	case expect.RoleList:
		return list(args)
	case childRole:
		return playChild(args)
	case expect.RoleExit, expect.RoleSignal, expect.RoleWait, expect.RoleEat:
		return playEnd(role, args)
	}
	checks, ok := rolesOfOwn()[role]
	if !ok {
		return fmt.Errorf("unknown role")
	}
	run(role, checks)
	return nil
}
