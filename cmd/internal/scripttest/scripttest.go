// SPDX-License-Identifier: Apache-2.0

// Package scripttest is what the scripts of the tools' tests have in common.
package scripttest

import (
	"errors"
	"os"
	"os/exec"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// Params runs testdata/script/*.txtar, one behaviour a file. With
// UPDATE_SCRIPTS=1 the golden files of failing comparisons are rewritten.
// Scripts have the condition "root" and the command "status".
func Params() testscript.Params {
	return testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      os.Getenv("UPDATE_SCRIPTS") != "",
		RequireUniqueNames: true,
		Cmds:               map[string]func(*testscript.TestScript, bool, []string){"status": status},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition")
		},
	}
}

// status is the script command "status N PROGRAM ARGS...": the program exits
// with N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, not %d", got, want)
	}
}
