// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"errors"
	"fmt"
	"strconv"
)

// Enter is a call of the enter entrypoint: run Cmd in the environment of an
// app, or of the pod's supervisor if App is empty.
type Enter struct {
	Path string // the program, argv[0]
	PID  int
	App  string
	Cmd  []string
}

// Argv returns the argument list; it is the same in every interface version.
func (e Enter) Argv() []string {
	argv := []string{e.Path, "--pid=" + strconv.Itoa(e.PID)}
	if e.App != "" {
		argv = append(argv, "--appname="+e.App)
	}
	return append(append(argv, "--"), e.Cmd...)
}

// ParseEnter reads an argument list, program name included.
func ParseEnter(argv []string) (Enter, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return Enter{}, err
	}
	e := Enter{Path: argv[0]}
	fs.IntVar(&e.PID, "pid", 0, "")
	fs.StringVar(&e.App, "appname", "", "")
	if err := fs.Parse(argv[1:]); err != nil {
		return Enter{}, err
	}
	if e.PID <= 0 {
		return Enter{}, fmt.Errorf("invalid process ID %d in --pid", e.PID)
	}
	if fs.NArg() == 0 {
		return Enter{}, errors.New("no command given")
	}
	e.Cmd = fs.Args()
	return e, nil
}
