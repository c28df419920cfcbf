// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/cmd/internal/argv"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Exit statuses.
const (
	statusOK = iota
	statusFailed
	statusMissing
	statusUsage
)

// Deps are what commands need from the process.
type Deps struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	EUID           int

	global globalFlags
}

// globalFlags are accepted by every command.
type globalFlags struct {
	debug, noHistory, help bool
	workPath, modify       string
	modifyOCI              string
}

func (g *globalFlags) bind(fs *flag.FlagSet) {
	fs.BoolVar(&g.debug, "debug", g.debug, "describe what is done on standard error")
	fs.StringVar(&g.workPath, "work-path", g.workPath, "the `DIR` that has the build")
	for _, name := range []string{"modify", "modify-appc"} {
		fs.StringVar(&g.modify, name, g.modify, "apply the command to the image `FILE` instead of a build")
	}
	fs.StringVar(&g.modifyOCI, "modify-oci", g.modifyOCI, "the same for the archive `FILE` of an OCI layout")
	fs.BoolVar(&g.noHistory, "no-history", g.noHistory, "do not record the command in the manifest")
	fs.BoolVar(&g.help, "help", false, "print this help")
	fs.BoolVar(&g.help, "h", false, "print this help")
}

// command is a command or a group of commands.
type command struct {
	name    string
	aliases []string
	args    string // as the usage shows them
	summary string
	hidden  bool
	sub     []command
	// min and max are how many arguments there must be; max -1: any number.
	min, max int
	flags    func(*flag.FlagSet)
	run      func(ctx context.Context, c *call) error
	// edit, instead of run, changes the manifest.
	edit func(c *call, m *manifest) error
	// alone commands do not work with --modify.
	alone bool
	// appcOnly commands change what an OCI image has no place for.
	appcOnly bool
	// modifies: the command is recorded in the history.
	modifies bool
}

// call is one command with its arguments.
type call struct {
	*Deps
	cmd   command
	words []string // the command's full name
	args  []string
	// dash is how many arguments stand before "--", -1 without.
	dash int
}

func (c *call) name() string { return strings.Join(c.words, " ") }

// statusError ends the program with a status of its own. Without an error
// nothing is printed.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

var errNotThere = &statusError{statusMissing, errors.New("element to be removed does not exist in this ACI")}

// message is fmt.Errorf for the texts that scripts match and that therefore do
// not look like other errors.
func message(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Main runs the command line args and returns the exit status.
func Main(ctx context.Context, d *Deps, args []string) int {
	d.global.workPath = "."
	root := command{name: "acbuild", sub: commands(), summary: "build App Container and OCI images"}
	return d.dispatch(ctx, root, nil, args)
}

// dispatch goes down the tree of commands.
func (d *Deps) dispatch(ctx context.Context, cmd command, words, args []string) int {
	if cmd.sub == nil {
		return d.runLeaf(ctx, cmd, words, args)
	}
	fs := argv.NewFlagSet(cmd.name)
	d.global.bind(fs)
	if err := fs.Parse(args); err != nil {
		return d.usageFault(words, err)
	}
	switch {
	case d.global.help:
		return d.status(d.printHelp(cmd, words))
	case fs.NArg() == 0 && words == nil:
		return d.status(d.printHelp(cmd, words))
	case fs.NArg() == 0:
		return max(d.status(d.printHelp(cmd, words)), statusFailed)
	}
	next, err := find(cmd.sub, fs.Arg(0))
	if err != nil {
		return d.usageFault(words, err)
	}
	return d.dispatch(ctx, next, append(words, next.name), fs.Args()[1:])
}

func (d *Deps) usageFault(words []string, err error) int {
	path := strings.Join(append([]string{"acbuild"}, words...), " ")
	d.complain("%s: %v\nRun '%s --help' for usage.", path, err, path)
	return statusUsage
}

// find looks a command up by its name, an alias or a prefix that no other has.
func find(list []command, word string) (command, error) {
	var found []command
	for _, c := range list {
		names := append([]string{c.name}, c.aliases...)
		if slices.Contains(names, word) {
			return c, nil
		}
		if !c.hidden && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, word) }) {
			found = append(found, c)
		}
	}
	switch {
	case word == "" || len(found) == 0:
		return command{}, fmt.Errorf("unknown command %q", word)
	case len(found) > 1:
		return command{}, fmt.Errorf("ambiguous command %q: %s or %s", word, found[0].name, found[1].name)
	}
	return found[0], nil
}

func (d *Deps) runLeaf(ctx context.Context, cmd command, words, args []string) int {
	fs := argv.NewFlagSet(cmd.name)
	d.global.bind(fs)
	if cmd.flags != nil {
		cmd.flags(fs)
	}
	args, dash, err := argv.Parse(fs, args)
	if err != nil {
		return d.usageFault(words, err)
	}
	c := &call{Deps: d, cmd: cmd, words: words, args: args, dash: dash}
	switch {
	case d.global.help:
		return d.status(d.printHelp(cmd, words))
	case len(args) < cmd.min:
		return max(d.status(d.printHelp(cmd, words)), statusFailed)
	case cmd.max >= 0 && len(args) > cmd.max:
		return d.status(message("%s: incorrect number of arguments", c.name()))
	}
	if err := c.do(ctx); err != nil {
		return d.status(fmt.Errorf("%s: %w", c.name(), err))
	}
	return statusOK
}

func (c *call) do(ctx context.Context) error {
	if c.global.modify != "" || c.global.modifyOCI != "" {
		return c.modify(ctx)
	}
	if c.cmd.run != nil {
		return c.cmd.run(ctx, c)
	}
	return c.withBuild(func(b *build) error { return c.editBuild(b) })
}

// editBuild changes the manifest of a build.
func (c *call) editBuild(b *build) error {
	oci, err := b.oci()
	if err != nil {
		return err
	}
	if oci && c.cmd.appcOnly {
		return fmt.Errorf("%s is only supported in appc builds", c.name())
	}
	m, err := b.manifest()
	if err != nil {
		return err
	}
	if err := c.change(m); err != nil {
		return err
	}
	if oci && m.App != nil && strings.Contains(m.App.User+m.App.Group, ":") {
		return errors.New("user and group of an OCI image cannot have a colon")
	}
	return b.setManifest(m)
}

// change is the edit of a command with its record in the history.
func (c *call) change(m *manifest) error {
	if err := c.cmd.edit(c, m); err != nil {
		return err
	}
	return c.record(m)
}

// status prints err and returns the status for it.
func (d *Deps) status(err error) int {
	if err == nil {
		return statusOK
	}
	var s *statusError
	if !errors.As(err, &s) {
		d.complainError(err)
		return statusFailed
	}
	if s.err != nil {
		d.complainError(err)
	}
	return s.status
}

func (d *Deps) complainError(err error) {
	d.complain("%v", err)
	if h := hint.Of(err); h != "" {
		d.complain("hint: %s", h)
	}
}

// complain prints one diagnostic. There is nobody to tell if that fails.
func (d *Deps) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(d.Stderr, strings.TrimSuffix(format, "\n")+"\n", args...)
}

// debugf prints what only --debug shows.
func (d *Deps) debugf(format string, args ...any) {
	if d.global.debug {
		d.complain(format, args...)
	}
}

func (d *Deps) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(d.Stdout, format, args...)
	return err
}
