// SPDX-License-Identifier: Apache-2.0

package entry

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/rkt/rkt/v2/stage1/internal/appops"
	"github.com/rkt/rkt/v2/stage1/internal/control"
	"github.com/rkt/rkt/v2/stage1/internal/enter"
	"github.com/rkt/rkt/v2/stage1/internal/launch"
	"github.com/rkt/rkt/v2/stage1/internal/logs"
	"github.com/rkt/rkt/v2/stage1/internal/supervise"
)

// StatusError ends the program with this exit status, without a message.
type StatusError int

func (e StatusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// program is one of the programs: argv with its name first.
type program struct {
	prefix string // of messages
	main   func(argv []string) error
}

// programs are the names the binary is called by.
func programs() map[string]program {
	return map[string]program{
		// On the host.
		"init":      {"stage1", supervise.Run},
		"enter":     {"enter", enter.Enter},
		"stop":      {"stage1 stop", control.Stop},
		"gc":        {"stage1 gc", control.GC},
		"app_add":   {"stage1 app add", appops.Add},
		"app_rm":    {"stage1 app rm", appops.Remove},
		"app_start": {"stage1 app start", appops.Start},
		"app_stop":  {"stage1 app stop", appops.Stop},
		"attach":    {"attach", appops.Attach},
		"logs":      {"logs", logs.Main},
		// Inside a pod.
		supervise.ListenName: {"stage1", supervise.Listen},
		"launch":             {"launch", launch.Launch},
		"post-stop":          {"post-stop", launch.PostStop},
		launch.HandlerName:   {"event handler", launch.Handler},
		enter.InsideName:     {"enter", enter.Inside},
		supervise.DialerName: {"dial-bus", supervise.Dialer},
	}
}

// Main runs the program called name.
func Main(name string, argv []string) error {
	p, ok := programs()[name]
	if !ok {
		return fmt.Errorf("%q is not a program of this stage1", name)
	}
	err := p.main(argv)
	var pod supervise.StatusError
	var app launch.ExitError
	var cmd enter.StatusError
	var op appops.StatusError
	switch {
	case errors.As(err, &pod):
		return StatusError(pod)
	case errors.As(err, &app):
		return StatusError(app)
	case errors.As(err, &cmd):
		return StatusError(cmd)
	case errors.As(err, &op):
		return StatusError(op)
	}
	return err
}

// Prefix is what the messages of a program begin with.
func Prefix(name string) string {
	if p, ok := programs()[name]; ok {
		return p.prefix
	}
	return "stage1"
}
