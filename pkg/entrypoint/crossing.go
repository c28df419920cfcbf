// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// StatusNoUnit is the exit status of app/stop for an app that does not run.
const StatusNoUnit = 5

var errNoApp = errors.New("no app name in --app")

// App is a call of app/add, app/start, app/stop or app/rm. UUID is given to
// app/add only.
type App struct {
	Path  string // the program, argv[0]
	Debug bool
	UUID  poddir.UUID
	App   string
}

// Argv returns the argument list.
func (a App) Argv() []string {
	argv := []string{a.Path, "--debug=" + strconv.FormatBool(a.Debug)}
	if a.UUID != "" {
		argv = append(argv, "--uuid="+a.UUID.String())
	}
	return append(argv, "--app="+a.App)
}

// ParseApp reads an argument list, program name included.
func ParseApp(argv []string) (App, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return App{}, err
	}
	a := App{Path: argv[0]}
	fs.BoolVar(&a.Debug, "debug", false, "")
	fs.Func("uuid", "", func(s string) (err error) { a.UUID, err = poddir.ParseUUID(s); return err })
	fs.StringVar(&a.App, "app", "", "")
	if err := noArgs(fs, argv); err != nil {
		return App{}, err
	}
	if a.App == "" {
		return App{}, errNoApp
	}
	return a, nil
}

// AttachAction is what attach is to do.
type AttachAction string

// The actions of attach.
const (
	AttachList   AttachAction = "list"
	AttachAuto   AttachAction = "auto-attach"
	AttachCustom AttachAction = "custom-attach"
)

// Attach is a call of the attach entrypoint. The five stream switches count
// with AttachCustom only.
type Attach struct {
	Path   string // the program, argv[0]
	Action AttachAction

	TTYIn, TTYOut, Stdin, Stdout, Stderr bool

	App   string
	Debug bool
}

// Argv returns the argument list.
func (a Attach) Argv() []string {
	argv := []string{a.Path, "--action=" + string(a.Action)}
	if a.Action == AttachCustom {
		for _, s := range a.streams() {
			argv = append(argv, "--"+s.name+"="+strconv.FormatBool(*s.on))
		}
	}
	return append(argv, "--app="+a.App, "--debug="+strconv.FormatBool(a.Debug))
}

type stream struct {
	name string
	on   *bool
}

func (a *Attach) streams() []stream {
	return []stream{
		{"tty-in", &a.TTYIn},
		{"tty-out", &a.TTYOut},
		{"stdin", &a.Stdin},
		{"stdout", &a.Stdout},
		{"stderr", &a.Stderr},
	}
}

// ParseAttach reads an argument list, program name included.
func ParseAttach(argv []string) (Attach, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return Attach{}, err
	}
	a := Attach{Path: argv[0]}
	fs.StringVar((*string)(&a.Action), "action", "", "")
	for _, s := range a.streams() {
		fs.BoolVar(s.on, s.name, false, "")
	}
	fs.StringVar(&a.App, "app", "", "")
	fs.BoolVar(&a.Debug, "debug", false, "")
	if err := noArgs(fs, argv); err != nil {
		return Attach{}, err
	}
	switch a.Action {
	case AttachList, AttachAuto, AttachCustom:
	default:
		return Attach{}, fmt.Errorf("unknown action %q in --action", a.Action)
	}
	if a.App == "" {
		return Attach{}, errNoApp
	}
	return a, nil
}
