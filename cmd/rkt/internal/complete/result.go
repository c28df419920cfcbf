// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Candidate is one word that may stand there.
type Candidate struct{ Value, Help string }

// Result is what a shell is told.
type Result struct {
	Candidates []Candidate
	Directive  cobra.ShellCompDirective
}

// Write prints the result as the shell scripts read it. Without help only the
// words are printed. A candidate with a character that would not stay on its
// line is left out: names of pods' apps and of images come from others.
func (r Result) Write(w io.Writer, help bool) error {
	var b strings.Builder
	for _, c := range r.Candidates {
		if c.Value == "" || strings.ContainsFunc(c.Value, unprintable) {
			continue
		}
		b.WriteString(c.Value)
		if text := clean(c.Help); help && text != "" {
			b.WriteString("\t" + text)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, ":%d\n", r.Directive)
	_, err := io.WriteString(w, b.String())
	return err
}

// unprintable are the characters that never are part of a candidate: control
// characters, and those a shell would have to be told to take as they are.
func unprintable(r rune) bool {
	return r <= ' ' || r == 0x7f || r > 0x7e || strings.ContainsRune("$`\\\"'|&;<>()*?[]{}!", r)
}

// clean is a help text as one line of printable characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

// matching keeps the candidates that begin with prefix, in order, each once.
func matching(list []Candidate, prefix string) []Candidate {
	var out []Candidate
	for _, c := range list {
		if strings.HasPrefix(c.Value, prefix) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Candidate) int { return strings.Compare(a.Value, b.Value) })
	return slices.CompactFunc(out, func(a, b Candidate) bool { return a.Value == b.Value })
}

func words(list ...string) []Candidate {
	out := make([]Candidate, len(list))
	for i, w := range list {
		out[i].Value = w
	}
	return out
}
