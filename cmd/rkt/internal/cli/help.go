// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// help is the help text of a command, sections in a fixed order, each left
// out when empty.
func (d *Deps) help(cmd *cobra.Command) string {
	var b strings.Builder
	section := func(title, body string) {
		if body == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(title + ":\n" + indent(body))
	}
	name := displayName(cmd)
	section("NAME", name+" - "+cmd.Short)
	section("USAGE", usageLine(cmd))
	if cmd == cmd.Root() {
		section("VERSION", version)
	}
	section("COMMANDS", commandTable(cmd))
	section("DESCRIPTION", description(cmd))
	section("OPTIONS", optionTable(cmd.LocalNonPersistentFlags()))
	section("GLOBAL OPTIONS", optionTable(cmd.Root().PersistentFlags()))
	return b.String()
}

func indent(body string) string {
	lines := strings.Split(strings.TrimRight(body, "\n"), "\n")
	var b strings.Builder
	for _, line := range lines {
		if line != "" {
			b.WriteString("\t" + line)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// displayName is the words a person types after "rkt".
func displayName(cmd *cobra.Command) string {
	if cmd == cmd.Root() {
		return cmd.Name()
	}
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func usageLine(cmd *cobra.Command) string {
	_, args, _ := strings.Cut(cmd.Use, " ")
	line := cmd.CommandPath()
	if cmd.HasSubCommands() && cmd.RunE == nil {
		args = "COMMAND [flags] [args]"
		if cmd == cmd.Root() {
			line += " [flags]"
		}
	}
	return strings.TrimSpace(line + " " + args)
}

// commandTable lists the commands below cmd with those of groups in place of
// the groups.
func commandTable(cmd *cobra.Command) string {
	rows := commandRows(cmd)
	if len(rows) == 0 {
		return ""
	}
	return table(rows)
}

func commandRows(cmd *cobra.Command) [][]string {
	var rows [][]string
	for _, c := range cmd.Commands() {
		switch {
		case c.Hidden:
		case c.HasSubCommands():
			if c.RunE != nil {
				rows = append(rows, []string{displayName(c), c.Short})
			}
			rows = append(rows, commandRows(c)...)
		default:
			rows = append(rows, []string{displayName(c), c.Short})
		}
	}
	return rows
}

func description(cmd *cobra.Command) string {
	text := strings.TrimSpace(cmd.Long)
	statuses := cmd.Annotations[exitStatuses]
	if statuses == "" && cmd.RunE != nil {
		statuses = "0\tsuccess\n254\tfailure"
	}
	if cmd == cmd.Root() {
		statuses = "0\tsuccess\n2\tno command given\n254\tfailure\nother\tsee \"rkt help run\" and \"rkt help enter\""
	}
	if statuses == "" {
		return text
	}
	var rows [][]string
	for line := range strings.SplitSeq(statuses, "\n") {
		rows = append(rows, strings.SplitN(line, "\t", 2))
	}
	return strings.TrimSpace(text + "\n\nExit status:\n" + table(rows))
}

// exitStatuses is the annotation with a command's exit statuses, "N\tmeaning"
// lines, where they are not just 0 and 254.
const exitStatuses = "exitStatuses"

func optionTable(flags *pflag.FlagSet) string {
	var rows [][]string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		rows = append(rows, []string{optionName(f), f.Usage})
	})
	if len(rows) == 0 {
		return ""
	}
	return table(rows)
}

// optionName shows a flag with its default: quoted for plain strings, in
// brackets when the value is optional.
func optionName(f *pflag.Flag) string {
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	value := f.DefValue
	if f.Value.Type() == "string" {
		value = fmt.Sprintf("%q", value)
	}
	if f.NoOptDefVal != "" {
		return name + "[=" + value + "]"
	}
	return name + "=" + value
}
