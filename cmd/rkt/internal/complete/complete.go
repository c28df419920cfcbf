// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	noFiles = cobra.ShellCompDirectiveNoFileComp
	files   = cobra.ShellCompDirectiveDefault
	dirs    = cobra.ShellCompDirectiveFilterDirs
)

// Line finds what may stand in place of partial, the last word, behind rest,
// the words after those that name cmd.
func Line(cmd *cobra.Command, rest []string, partial string, src Sources) Result {
	l := parse(cmd, rest, partial)
	switch {
	case l.flag != nil:
		return l.values(src)
	case l.literal && (ownArguments(l.path) || l.path == "enter"):
		return Result{Directive: files}
	case strings.HasPrefix(partial, "-") && !l.literal:
		return l.flags()
	}
	r := l.arguments(src)
	if cmd.HasSubCommands() && len(l.args) == 0 {
		r.Candidates = append(r.Candidates, subcommands(cmd)...)
	}
	r.Candidates = matching(r.Candidates, l.partial)
	return r
}

func subcommands(cmd *cobra.Command) []Candidate {
	var list []Candidate
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			list = append(list, Candidate{c.Name(), c.Short})
		}
	}
	return list
}

// flags are the names of flags. Those that need a value end in "=".
func (l *line) flags() Result {
	var list []Candidate
	waiting := false
	l.cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" || !strings.HasPrefix("--"+f.Name, l.partial) {
			return
		}
		name := "--" + f.Name
		if f.NoOptDefVal == "" {
			name, waiting = name+"=", true
		}
		list = append(list, Candidate{name, f.Usage})
	})
	directive := noFiles
	if waiting && len(list) == 1 {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return Result{matching(list, l.partial), directive}
}

// values are what the flag may be set to.
func (l *line) values(src Sources) Result {
	name := l.flag.Name
	switch {
	case name == "app":
		return Result{matching(src.Apps(l.pod()), l.partial), noFiles}
	case name == "net":
		return l.list(append(words("all", "none", "host"), src.Networks()...))
	case slices.Contains(dirFlags(), name):
		return Result{Directive: dirs}
	case slices.Contains(fileFlags(), name):
		return Result{Directive: files}
	}
	choices := fixed(l.flag)
	if slices.Contains(listFlags(), name) {
		return l.list(words(choices...))
	}
	return Result{matching(words(choices...), l.partial), noFiles}
}

// pod is the pod the line is about, "" if it says none yet.
func (l *line) pod() string {
	if len(l.args) == 0 {
		return ""
	}
	return l.args[0]
}

// list completes the last of several values with commas between.
func (l *line) list(choices []Candidate) Result {
	done, last := "", l.partial
	if i := strings.LastIndexByte(l.partial, ','); i >= 0 {
		done, last = l.partial[:i+1], l.partial[i+1:]
	}
	taken := strings.Split(done, ",")
	var out []Candidate
	for _, c := range matching(choices, last) {
		if !slices.Contains(taken, c.Value) {
			out = append(out, Candidate{done + c.Value, c.Help})
		}
	}
	return Result{out, noFiles | cobra.ShellCompDirectiveNoSpace}
}
