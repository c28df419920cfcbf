// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// line is a command line up to the word that is being completed.
type line struct {
	cmd     *cobra.Command
	path    string   // the command's words after "rkt"
	args    []string // arguments of the command
	partial string   // what is there of the word
	// flag is the flag whose value is being completed, or nil.
	flag *pflag.Flag
	// literal tells that flags are not flags of rkt here.
	literal bool
	// uuidFile tells that a file names the pod.
	uuidFile bool
}

// parse understands rest, the words after the command's, and partial, the word
// that is being completed.
func parse(cmd *cobra.Command, rest []string, partial string) line {
	cmd.InheritedFlags() // merges the flags of the parents
	l := line{cmd: cmd, partial: partial, path: strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()), " ")}
	for _, word := range rest {
		l.add(word)
	}
	if l.flag != nil || l.literal {
		return l
	}
	if name, value, ok := strings.Cut(partial, "="); ok && strings.HasPrefix(name, "--") {
		if l.flag = cmd.Flags().Lookup(name[2:]); l.flag != nil {
			l.partial = value
		}
	}
	return l
}

// add takes one more word.
func (l *line) add(word string) {
	switch {
	case l.flag != nil:
		l.flag = nil // the word was its value
	case word == "---":
		l.literal = false // the next image
	case l.literal:
		if !ownArguments(l.path) {
			l.args = append(l.args, word)
		}
	case word == "--":
		l.literal = true
	case len(word) > 1 && word[0] == '-':
		name, _, _ := strings.Cut(word, "=")
		l.uuidFile = l.uuidFile || name == "--uuid-file"
		l.flag = waiting(l.cmd.Flags(), word)
	default:
		l.args = append(l.args, word)
		l.literal = l.literal || l.path == "enter" // the rest is the command to run
	}
}

// waiting is the flag in word if its value is the next word.
func waiting(flags *pflag.FlagSet, word string) *pflag.Flag {
	var f *pflag.Flag
	switch name, long := strings.CutPrefix(word, "--"); {
	case long && !strings.Contains(name, "="):
		f = flags.Lookup(name)
	case !long && len(word) == 2:
		f = flags.ShorthandLookup(word[1:])
	}
	if f == nil || f.NoOptDefVal != "" {
		return nil
	}
	return f
}
