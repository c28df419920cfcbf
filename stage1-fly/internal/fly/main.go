// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"fmt"
	"os"
)

// Main runs the entrypoint called name with the argument list argv, program
// name included. run and enter return only if they fail.
func Main(name string, argv []string) error {
	switch name {
	case "run":
		return run(argv)
	case "enter":
		return enter(argv)
	case "stop":
		return stop(argv)
	case "gc":
		return gc(argv)
	case hookName:
		return hook(argv)
	}
	return fmt.Errorf("%q is not an entrypoint of stage1-fly: it is called run, enter, stop or gc", name)
}

// say prints a line for the user. It is not worth failing for.
func say(line string) { _, _ = os.Stderr.WriteString(line + "\n") }
