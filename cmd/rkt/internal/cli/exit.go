// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/appargs"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Exit statuses of rkt itself. run, run-prepared and enter end with the
// status of what they started.
const (
	statusOK        = 0
	statusLegacy    = 1 // paths that have always exited with 1
	statusNoCommand = 2
	statusFailure   = 254
)

var (
	// errHelp asks for the help text: it was the question.
	errHelp = appargs.ErrHelp
	// errUsage is a wrong number of arguments: the help text is all there is to say.
	errUsage     = errors.New("wrong number of arguments")
	errNoCommand = errors.New("missing command")
	// errReported is a failure whose messages are already printed.
	errReported = errors.New("failed")
)

// flagError is a flag that could not be parsed.
type flagError struct{ err error }

func (e *flagError) Error() string { return e.err.Error() }
func (e *flagError) Unwrap() error { return e.err }

// statusError gives an error another exit status than 254.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// report prints what is left to say about err and returns the exit status.
func (d *Deps) report(cmd *cobra.Command, err error) int {
	var flagErr *flagError
	var appFlag *appargs.FlagError
	var status *statusError
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, errHelp):
		return d.answer(d.help(cmd))
	case errors.Is(err, errNoCommand):
		d.writeErr("rkt: missing command\n")
		d.answer(d.help(cmd))
		return statusNoCommand
	case errors.Is(err, errUsage):
		d.answer(d.help(cmd))
		return statusFailure
	case errors.As(err, &flagErr), errors.As(err, &appFlag):
		d.writeErr(fmt.Sprintf("Error: %v\n\n", err))
		d.answer(d.help(cmd))
		return statusFailure
	case errors.As(err, &status):
		d.printError(status.err)
		return status.status
	}
	d.printError(err)
	return statusFailure
}

// answer prints text that is the command's result.
func (d *Deps) answer(text string) int {
	if err := d.writeOut(text); err != nil {
		d.printError(err)
		return statusFailure
	}
	return statusOK
}

// printError prints the whole chain on one line and the hint, if there is one.
func (d *Deps) printError(err error) {
	if errors.Is(err, errReported) {
		return
	}
	d.errorf("%s", oneLine(err.Error()))
	if text := d.hint(err); text != "" {
		d.writeErr("hint: " + oneLine(text) + "\n")
	}
}

// hint is what to do about err, if anybody knows.
func (d *Deps) hint(err error) string {
	if text := hint.Of(err); text != "" {
		return text
	}
	if errors.Is(err, fs.ErrPermission) && d.EUID() != 0 {
		return `run rkt as root or as a member of the group "rkt"`
	}
	return ""
}

// oneLine joins the lines of errors.Join and of causes that have several.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
}
