// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// manual makes the pages of one program.
type manual struct {
	program, version, date, join string
	// ask returns the help text of the command with these words.
	ask func(words []string) (string, error)
}

// pages are the texts of all pages by their names.
func (m manual) pages() (map[string]string, error) {
	texts := map[string][]section{}
	if err := m.collect(texts, nil); err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(texts))
	out := map[string]string{}
	for name, sections := range texts {
		out[name] = m.page(name, sections, names)
	}
	return out, nil
}

// collect reads the help of a command and of those below it. rkt lists
// "image list" among its own commands: then "image" is one as well.
func (m manual) collect(texts map[string][]section, words []string) error {
	name := m.name(words)
	if texts[name] != nil {
		return nil
	}
	text, err := m.ask(words)
	if err != nil {
		return err
	}
	sections, err := parseHelp(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	texts[name] = sections
	for _, c := range commands(sections) {
		if len(words) > 0 && c[0] == words[0] && len(c) > len(words) {
			c = c[len(words):] // given in full
		}
		for i := range c {
			if err := m.collect(texts, append(slices.Clone(words), c[:i+1]...)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m manual) name(words []string) string {
	return strings.Join(append([]string{m.program}, words...), m.join)
}

func (m manual) page(name string, sections []section, names []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" generated from the help text\n.TH %s 1 %s \"%s\" \"User Commands\"\n",
		quote(strings.ToUpper(name)), m.date, escape("rkt "+m.version))
	for _, s := range sections {
		switch s.title {
		case "VERSION":
		case "NAME":
			_, short, _ := strings.Cut(strings.Join(s.lines, " "), " - ")
			fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(name), escape(short))
		case "USAGE":
			fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", escape(strings.Join(s.lines, " ")))
		default:
			body(&b, s)
		}
	}
	if also := m.seeAlso(name, names); len(also) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", strings.Join(also, "\n"))
	}
	return b.String()
}

// seeAlso are the pages directly above and below.
func (m manual) seeAlso(name string, names []string) []string {
	var list []string
	for _, other := range names {
		if other != name && (parent(other, m.join) == name || parent(name, m.join) == other) {
			list = append(list, fmt.Sprintf(".BR %s (1)", escape(other)))
		}
	}
	for i := range list[:max(len(list)-1, 0)] {
		list[i] += " ,"
	}
	return list
}

// parent is the page above in names that are made with join.
func parent(name, join string) string {
	i := strings.LastIndex(name, join)
	if i < 0 {
		return ""
	}
	return name[:i]
}

// body writes a section: rows of two columns as a list, lines that begin with
// a tab as they are, others as paragraphs. What "Exit status:" heads is a
// section of its own.
func body(b *strings.Builder, s section) {
	fmt.Fprintf(b, ".SH %s\n", escape(s.title))
	gap := false
	for _, line := range s.lines {
		left, right, isRow := row(line)
		switch {
		case strings.TrimSpace(line) == "":
			gap = true
			continue
		case line == "Exit status:":
			b.WriteString(".SH EXIT STATUS\n")
		case isRow:
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", escape(left), escape(right))
		case strings.HasPrefix(line, "\t"):
			fmt.Fprintf(b, ".IP\n%s\n", escape(strings.TrimSpace(line)))
		default:
			if gap {
				b.WriteString(".PP\n")
			}
			b.WriteString(escape(line) + "\n")
		}
		gap = false
	}
}

// escape makes text of s that roff takes as it is.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\t", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func quote(s string) string { return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"` }
