// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/cmd/internal/argv"
)

// Exit statuses.
const (
	statusOK = iota
	statusFailed
	statusUsage
)

// Deps are what commands need from the process.
type Deps struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time

	debug bool
}

// command is one command of actool.
type command struct {
	name, args, summary, description string
	// flags binds the command's own flags; nil if it has none.
	flags func(*flag.FlagSet)
	run   func(ctx context.Context, d *Deps, args []string) error
}

// commands returns all commands, in the order of the help. They are made anew
// for each run because they hold the values of their flags.
func commands() []command {
	return []command{
		newBuild(), newCatManifest(), newConvert(), newDiff(), newDigest(), newDiscover(), newExtract(), newHelp(), newPatchManifest(), newSign(), newValidate(), newVerify(), newVersion(),
	}
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// errReported is returned by commands that printed their diagnostics already.
var errReported = errors.New("already reported")

// message is fmt.Errorf for the texts that scripts match and that therefore
// begin with a capital or end in a full stop.
func message(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Main runs the command line args and returns the exit status.
func Main(ctx context.Context, d *Deps, args []string) int {
	var help bool
	fs := argv.NewFlagSet("actool")
	addGlobalFlags(fs, d, &help)
	if err := fs.Parse(args); err != nil {
		d.complain("actool: %v\nRun 'actool help' for usage.", err)
		return statusUsage
	}
	if help || fs.NArg() == 0 {
		return d.status(printHelp(d))
	}
	c, ok := find(fs.Arg(0))
	if !ok {
		d.complain("actool: unknown subcommand: %q\nRun 'actool help' for usage.", fs.Arg(0))
		return statusUsage
	}
	return runCommand(ctx, d, c, fs.Args()[1:])
}

func runCommand(ctx context.Context, d *Deps, c command, args []string) int {
	var help bool
	fs := argv.NewFlagSet(c.name)
	addGlobalFlags(fs, d, &help)
	if c.flags != nil {
		c.flags(fs)
	}
	args, _, err := argv.Parse(fs, args)
	if err != nil {
		d.complain("%s: %v\nRun 'actool help %s' for usage.", c.name, err, c.name)
		return statusUsage
	}
	if help {
		return d.status(printCommandHelp(d, c))
	}
	return d.status(c.run(ctx, d, args))
}

// status prints err and returns the status for it.
func (d *Deps) status(err error) int {
	switch {
	case err == nil:
		return statusOK
	case !errors.Is(err, errReported):
		d.complain("%v", err)
	}
	return statusFailed
}

// complain prints one diagnostic. There is nobody to tell if that fails.
func (d *Deps) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(d.Stderr, strings.TrimSuffix(format, "\n")+"\n", args...)
}

// debugf prints what only --debug shows.
func (d *Deps) debugf(format string, args ...any) {
	if d.debug {
		d.complain(format, args...)
	}
}

func addGlobalFlags(fs *flag.FlagSet, d *Deps, help *bool) {
	fs.BoolVar(&d.debug, "debug", d.debug, "print what succeeded to stderr")
	fs.BoolVar(help, "help", false, "print this help")
	fs.BoolVar(help, "h", false, "print this help")
}

// ctxReader ends with the error of its context.
type ctxReader struct {
	ctx context.Context // an io.Reader has no other way to see it
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
