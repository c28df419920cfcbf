// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Main runs rkt with the arguments that follow the program's name and returns
// the exit status. It returns only when nothing is left to do; `rkt run` ends
// in the exec of stage1 and never returns on success.
func Main(ctx context.Context, d *Deps, args []string) int {
	root := newRoot(d) //nolint:contextcheck // commands get the context when they run
	found := resolve(root, args)
	if found.unknown != "" {
		d.unknownCommand(root, found.unknown)
		return statusFailure
	}
	d.command = found.cmd.Name()
	defer d.close()
	return d.report(found.cmd, execute(ctx, d, found))
}

// execute parses the flags of the command that was found and runs it.
func execute(ctx context.Context, d *Deps, found resolution) error {
	cmd := found.cmd
	cmd.SetContext(ctx)
	flags := mergedFlags(cmd, d)
	// A command with a grammar of its own (package appargs) parses in PreRunE
	// and keeps what is wrong after the first image for RunE.
	if cmd.PreRunE != nil {
		if err := cmd.PreRunE(cmd, found.args); err != nil {
			return err
		}
	} else if err := flags.Parse(found.args); err != nil {
		return &flagError{err}
	}
	switch {
	case d.Global.help:
		return errHelp
	case cmd == cmd.Root():
		return errNoCommand
	case cmd.RunE == nil:
		return errHelp // a group of commands
	}
	if cmd.Annotations[needsRoot] != "" {
		if err := d.checkRoot(); err != nil {
			return err
		}
	}
	args := flags.Args()
	if cmd.ValidateArgs(args) != nil {
		return errUsage
	}
	return d.profiled(func() error { return cmd.RunE(cmd, args) })
}

// needsRoot is the annotation of commands that only root may use; it is
// checked before their arguments are.
const needsRoot = "needsRoot"

func rootOnly() map[string]string { return map[string]string{needsRoot: "true"} }

func (d *Deps) checkRoot() error {
	if d.EUID() != 0 {
		return errors.New("cannot run as unprivileged user")
	}
	return nil
}

// unknownCommand prints what cobra would print.
func (d *Deps) unknownCommand(root *cobra.Command, word string) {
	var b strings.Builder
	fmt.Fprintf(&b, "Error: unknown command %q for %q\n", word, root.Name())
	if suggestions := root.SuggestionsFor(word); len(suggestions) > 0 {
		b.WriteString("\nDid you mean this?\n")
		for _, s := range suggestions {
			fmt.Fprintf(&b, "\t%s\n", s)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Run '%s --help' for usage.\n", root.Name())
	d.writeErr(b.String())
}
