// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// section is a part of a help text: "TITLE:" and indented lines, here without
// the indent.
type section struct {
	title string
	lines []string
}

// parseHelp takes a help text apart. docker2aci, which has no commands, begins
// with "usage:" and calls its flags "Options:".
func parseHelp(text string) ([]section, error) {
	if usage, ok := strings.CutPrefix(text, "usage: "); ok {
		return parseShort(usage)
	}
	var all []section
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		title, isTitle := strings.CutSuffix(line, ":")
		switch {
		case isTitle && line == strings.ToUpper(line) && !strings.HasPrefix(line, "\t"):
			all = append(all, section{title: title})
		case len(all) > 0 && (line == "" || strings.HasPrefix(line, "\t")):
			s := &all[len(all)-1]
			s.lines = append(s.lines, strings.TrimPrefix(line, "\t"))
		case len(all) > 0:
			s := &all[len(all)-1] // a remark behind the sections
			s.lines = append(s.lines, line)
		default:
			return nil, fmt.Errorf("help text begins with %q, not with a section", line)
		}
	}
	for i := range all {
		all[i].lines = trim(all[i].lines)
	}
	if find(all, "NAME") == nil || find(all, "USAGE") == nil {
		return nil, fmt.Errorf("help text has no NAME or no USAGE: %q", text)
	}
	return all, nil
}

func parseShort(text string) ([]section, error) {
	usage, rest, ok := strings.Cut(text, "\n")
	description, options, ok2 := strings.Cut(rest, "Options:\n")
	if !ok || !ok2 {
		return nil, fmt.Errorf("help text without options: %q", text)
	}
	program, _, _ := strings.Cut(usage, " ")
	opts := section{title: "OPTIONS"}
	for line := range strings.Lines(options) {
		name, help, _ := strings.Cut(strings.TrimSpace(line), "  ")
		opts.lines = append(opts.lines, name+"\t"+strings.TrimSpace(help))
	}
	return []section{
		{"NAME", []string{program + " - convert images to App Container images"}},
		{"USAGE", []string{usage}},
		{"DESCRIPTION", trim(strings.Split(description, "\n"))},
		opts,
	}, nil
}

func trim(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func find(all []section, title string) *section {
	for i := range all {
		if all[i].title == title {
			return &all[i]
		}
	}
	return nil
}

// row is a line of a table: two columns with tabs between. ok is false for
// other lines.
func row(line string) (left, right string, ok bool) {
	left, right, ok = strings.Cut(line, "\t")
	return strings.TrimSpace(left), strings.TrimSpace(right), ok && strings.TrimSpace(left) != ""
}

// commands are the words of each command a help text lists.
func commands(all []section) [][]string {
	s := find(all, "COMMANDS")
	if s == nil {
		return nil
	}
	var list [][]string
	for _, line := range s.lines {
		if name, _, ok := row(line); ok {
			list = append(list, strings.Fields(name))
		}
	}
	return list
}
