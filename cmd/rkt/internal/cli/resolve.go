// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// resolution is what argv says before flags are parsed.
type resolution struct {
	cmd     *cobra.Command // deepest command found
	args    []string       // argv without the command words
	unknown string         // the word that names no command of rkt, if any
}

// resolve finds the command words in argv. Flags may stand before and between
// them, also those of the command itself; a flag that takes a value takes the
// next word with it.
func resolve(root *cobra.Command, argv []string) resolution {
	r := resolution{cmd: root}
	for i := 0; i < len(argv); i++ {
		word := argv[i]
		switch {
		case !r.cmd.HasSubCommands() || word == "--":
			r.args = append(r.args, argv[i:]...)
			return r
		case word == "":
			continue
		case isFlag(word):
			r.args = append(r.args, word)
			if i+1 < len(argv) && takesNextWord(root, word, argv[i+1]) {
				i++
				r.args = append(r.args, argv[i])
			}
			continue
		}
		next := child(r.cmd, word)
		if next == nil {
			if r.cmd == root {
				r.unknown = word
			}
			r.args = append(r.args, argv[i:]...)
			return r
		}
		r.cmd = next
	}
	return r
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// child finds the subcommand a word names: its name or a prefix of just one.
func child(parent *cobra.Command, word string) *cobra.Command {
	var found *cobra.Command
	for _, c := range parent.Commands() {
		switch {
		case c.Name() == word:
			return c
		case !strings.HasPrefix(c.Name(), word):
		case found != nil:
			found = parent // ambiguous, unless an exact match follows
		default:
			found = c
		}
	}
	if found == parent {
		return nil
	}
	return found
}

// takesNextWord reports whether the flag in word consumes the word after it:
// some command has a flag of that name, and it needs a value. Commands may
// disagree on that (--net); then the next word is the value unless it is a command.
func takesNextWord(root *cobra.Command, word, next string) bool {
	name, ok := strings.CutPrefix(word, "--")
	if !ok || strings.Contains(name, "=") {
		return false
	}
	needed, optional := valueOf(root, name)
	return needed && (!optional || child(root, next) == nil)
}

// valueOf looks for a flag in all commands: whether some need a value for it,
// and whether others do not.
func valueOf(cmd *cobra.Command, name string) (needed, optional bool) {
	for _, set := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.Flags()} {
		if flag := set.Lookup(name); flag != nil {
			needed = needed || flag.NoOptDefVal == ""
			optional = optional || flag.NoOptDefVal != ""
		}
	}
	for _, c := range cmd.Commands() {
		n, o := valueOf(c, name)
		needed, optional = needed || n, optional || o
	}
	return needed, optional
}

// mergedFlags are the flags of cmd with the global ones.
func mergedFlags(cmd *cobra.Command, d *Deps) *pflag.FlagSet {
	cmd.InheritedFlags() // merges the persistent flags of the parents
	flags := cmd.Flags()
	flags.SetOutput(d.Stderr) // where the notes on deprecated flags go
	flags.Usage = func() {}
	return flags
}
