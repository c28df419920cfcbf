// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/rkt/rkt/v2/cmd/internal/argv"
	"github.com/rkt/rkt/v2/pkg/appc"
)

func newHelp() command {
	return command{
		name: "help", args: "[COMMAND]", summary: "Show a list of commands or the help of one",
		description: "Prints what actool can do, or the flags of COMMAND.",
		run: func(_ context.Context, d *Deps, args []string) error {
			if len(args) == 0 {
				return printHelp(d)
			}
			c, ok := find(args[0])
			if !ok {
				return message("Unrecognized command: %s", args[0])
			}
			return printCommandHelp(d, c)
		},
	}
}

func newVersion() command {
	return command{
		name: "version", summary: "Print the version and exit",
		description: "Prints the version of the App Container specification that actool implements.",
		run: func(_ context.Context, d *Deps, args []string) error {
			if len(args) > 0 {
				return errors.New("version: takes no arguments")
			}
			_, err := fmt.Fprintf(d.Stdout, "actool version %s\n", appc.ACVersion)
			return err
		},
	}
}

func printHelp(d *Deps) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 1, '\t', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line("NAME:\n\tactool - build, change, validate and unpack App Container images\n")
	line("USAGE:\n\tactool [global options] COMMAND [command options] [ARGS...]\n")
	line("VERSION:\n\t%s\n", appc.ACVersion)
	line("COMMANDS:")
	for _, c := range commands() {
		line("\t%s\t%s", c.name, c.summary)
	}
	fs := argv.NewFlagSet("actool")
	addGlobalFlags(fs, &Deps{}, new(bool))
	line("\nGLOBAL OPTIONS:\n%s", argv.Usage([]*flag.FlagSet{fs}))
	line("Run \"actool help COMMAND\" for more about a command.")
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := d.Stdout.Write(b.Bytes())
	return err
}

func printCommandHelp(d *Deps, c command) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 1, '\t', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	usage := "actool " + c.name
	global, own := argv.NewFlagSet(""), argv.NewFlagSet(c.name)
	addGlobalFlags(global, &Deps{}, new(bool))
	if c.flags != nil {
		c.flags(own)
		usage += " [options]"
	}
	line("NAME:\n\tactool %s - %s\n", c.name, c.summary)
	line("USAGE:\n\t%s\n", strings.TrimSpace(usage+" "+c.args))
	line("DESCRIPTION:\n\t%s\n", strings.ReplaceAll(c.description, "\n", "\n\t"))
	line("OPTIONS:\n%s", argv.Usage([]*flag.FlagSet{own, global}))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := d.Stdout.Write(b.Bytes())
	return err
}
