// SPDX-License-Identifier: Apache-2.0

// Package argv reads the command lines of the image tools: flags of package
// flag, with one dash or two, that may stand anywhere among the arguments.
package argv

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// NewFlagSet is a set that leaves it to its user to say what is wrong.
func NewFlagSet(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// Parse parses flags before, between and behind the arguments, up to "--".
// dash is how many arguments stand before that, -1 without it.
func Parse(fs *flag.FlagSet, args []string) (positional []string, dash int, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, -1, err
		}
		rest := fs.Args()
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" && !isValue(fs, args[:parsed]) {
			return append(positional, rest...), len(positional), nil
		}
		if len(rest) == 0 {
			return positional, -1, nil
		}
		positional = append(positional, rest[0])
		args = rest[1:]
	}
}

// isValue tells whether the last of the parsed words is the value of the flag
// before it.
func isValue(fs *flag.FlagSet, parsed []string) bool {
	if len(parsed) < 2 {
		return false
	}
	again := NewFlagSet("")
	fs.VisitAll(func(f *flag.Flag) {
		b, ok := f.Value.(interface{ IsBoolFlag() bool })
		if ok && b.IsBoolFlag() {
			again.Bool(f.Name, false, "")
			return
		}
		again.String(f.Name, "", "")
	})
	return again.Parse(parsed[:len(parsed)-1]) != nil
}

// Usage lists the flags of several sets, one a line, with tabs for a
// tabwriter. Flags of one letter and those called like hidden are left out.
func Usage(sets []*flag.FlagSet, hidden ...string) string {
	var b strings.Builder
	for _, fs := range sets {
		fs.VisitAll(func(f *flag.Flag) {
			if len(f.Name) == 1 || slices.Contains(hidden, f.Name) {
				return
			}
			value, usage := flag.UnquoteUsage(f)
			name := "--" + f.Name
			if value != "" {
				name += "=" + value
			}
			fmt.Fprintf(&b, "\t%s\t%s\n", name, usage)
		})
	}
	return b.String()
}

// Words is a flag that may be given several times.
type Words []string

// String makes Words a flag.
func (w *Words) String() string { return strings.Join(*w, ",") }

// Set makes Words a flag.
func (w *Words) Set(s string) error {
	*w = append(*w, s)
	return nil
}
