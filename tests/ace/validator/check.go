// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// check is one thing that an app has to find.
type check struct {
	name string
	ok   func() error
}

// run does the checks of a role and prints a line for each.
func run(role string, checks []check) {
	for _, c := range checks {
		say(role+"."+c.name, c.ok())
	}
}

// say prints one result. The reason has to stay on its line.
func say(name string, err error) {
	if err == nil {
		fmt.Fprintf(os.Stdout, "ok %s\n", name)
		return
	}
	why := fmt.Sprintf("%+q", err.Error())
	fmt.Fprintf(os.Stdout, "not ok %s: %s\n", name, why[1:len(why)-1])
}

// list prints the names of the checks of a role.
func list(roles []string) error {
	for _, role := range roles {
		var checks []check
		switch role {
		case expect.RoleMain:
			checks = append(mainChecks(), togetherChecks(nil)...)
		case expect.RoleSidekick:
			checks = append(sidekickChecks(), afterMainChecks()...)
		case expect.RolePreStart, expect.RolePostStop:
			checks = hookChecks(role)
		default:
			checks = rolesOfOwn()[role]
		}
		for _, c := range checks {
			fmt.Fprintln(os.Stdout, role+"."+c.name)
		}
	}
	return nil
}

// same is an error unless the values are equal.
func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("%v, want %v", show(got), show(want))
	}
	return nil
}

func show(v any) any {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return v
}

// first is the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
