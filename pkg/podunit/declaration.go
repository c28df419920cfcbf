// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/unit"
)

// Declaration is what a source and its drop-ins say together.
type Declaration struct {
	Source *Source
	// Problems keep the pod from being started.
	Problems []unit.Problem
	// Warnings do not.
	Warnings []unit.Problem

	pod      settings
	apps     []*app
	unit     []unit.Entry // [Unit], [Service] and [Socket] as they are
	service  []unit.Entry
	socket   []unit.Entry
	listens  bool // there is a [Socket]
	install  map[string][]string
	fallback string // DefaultInstance=
}

// app is one [App NAME].
type app struct {
	name string
	pos  unit.Pos
	settings
}

// setting is a key with its values.
type setting struct {
	key    Key
	values []value
}

type value struct {
	text string
	pos  unit.Pos
}

// settings keep the order in which keys came first.
type settings []*setting

func (s settings) get(name string) *setting {
	for _, one := range s {
		if one.key.Name == name && len(one.values) > 0 {
			return one
		}
	}
	return nil
}

// text is the last value of a key, "" if it is not set.
func (s settings) text(name string) string {
	if one := s.get(name); one != nil {
		return one.values[len(one.values)-1].text
	}
	return ""
}

// Read reads the files of a source.
func (s *Source) Read() *Declaration {
	d := &Declaration{Source: s, install: map[string][]string{}}
	if s.err != nil {
		d.problem(unit.Pos{File: s.Path}, "cannot be read: %v", s.err)
	}
	d.add(s.Path, s.text)
	total := len(s.text)
	for _, path := range s.DropIns {
		text, err := unit.Read(path)
		if err != nil {
			d.problem(unit.Pos{File: path}, "cannot be read: %v", err)
		}
		// All of it gets into one command line, of which systemd takes a MiB.
		if total += len(text); total > unit.MaxFile {
			d.problem(unit.Pos{File: path}, "the declaration and its drop-ins are longer than %d bytes", unit.MaxFile)
			break
		}
		d.add(path, text)
	}
	if len(d.Problems) == 0 || len(d.apps) > 0 {
		d.checkApps()
	}
	return d
}

// Parse reads one text, for tests and for what is no file.
func Parse(name, path, text string) *Declaration {
	return (&Source{Name: name, Path: path, text: text}).Read()
}

func (d *Declaration) problem(pos unit.Pos, format string, args ...any) {
	d.Problems = append(d.Problems, unit.Problem{Pos: pos, Text: fmt.Sprintf(format, args...)})
}

func (d *Declaration) warn(pos unit.Pos, format string, args ...any) {
	d.Warnings = append(d.Warnings, unit.Problem{Pos: pos, Text: fmt.Sprintf(format, args...)})
}

// add takes what one file says.
func (d *Declaration) add(path, text string) {
	entries, problems := unit.Parse(path, text)
	d.Problems = append(d.Problems, problems...)
	for _, e := range entries {
		if e.Key == "" {
			d.header(e)
			continue
		}
		d.entry(e)
	}
}

// header looks at "[Section]".
func (d *Declaration) header(e unit.Entry) {
	switch word, name, named := strings.Cut(e.Section, " "); {
	case word == SectionApp:
		if named {
			if _, err := appc.NewName(strings.TrimSpace(name)); err != nil {
				d.problem(e.Pos, "[%s]: %v", e.Section, err)
			}
		}
		d.app(strings.TrimSpace(name), e.Pos)
	case e.Section == sectionSocket:
		d.listens = true
	case slices.Contains(sections(), e.Section), strings.HasPrefix(e.Section, "X-"):
	default:
		text := fmt.Sprintf("there is no section [%s]", e.Section)
		d.problem(e.Pos, "%s%s", text, meant(word, append(sections(), SectionApp), "[", "]"))
	}
}

func sections() []string {
	return []string{SectionPod, sectionUnit, sectionService, sectionSocket, sectionInstall}
}

func meant(word string, candidates []string, before, after string) string {
	if near := unit.Nearest(word, candidates); near != "" {
		return fmt.Sprintf("; did you mean %s%s%s?", before, near, after)
	}
	return ""
}

// app is the app of a name, made when it is mentioned first.
func (d *Declaration) app(name string, pos unit.Pos) *app {
	for _, a := range d.apps {
		if a.name == name {
			return a
		}
	}
	a := &app{name: name, pos: pos}
	d.apps = append(d.apps, a)
	return a
}

func (d *Declaration) entry(e unit.Entry) {
	word, name, _ := strings.Cut(e.Section, " ")
	switch {
	case word == SectionApp:
		d.set(&d.app(strings.TrimSpace(name), e.Pos).settings, SectionApp, e)
	case e.Section == SectionPod:
		d.set(&d.pod, SectionPod, e)
	case e.Section == sectionInstall:
		d.addInstall(e)
	default:
		d.pass(e)
	}
}

// set takes a key of [Pod] or [App].
func (d *Declaration) set(to *settings, section string, e unit.Entry) {
	key, ok := find(section, e.Key)
	if !ok {
		d.problem(e.Pos, "there is no %s= in [%s]%s%s", e.Key, section, elsewhere(section, e.Key), meant(e.Key, names(section), "", "="))
		return
	}
	i := slices.IndexFunc(*to, func(s *setting) bool { return s.key.Name == key.Name })
	if i < 0 {
		i = len(*to)
		*to = append(*to, &setting{key: key})
	}
	one := (*to)[i]
	if e.Value == "" || key.Kind == Text || key.Kind == Path || key.Kind == Bool {
		one.values = nil
	}
	if e.Value == "" {
		return
	}
	words, err := split(key.Kind, e.Value)
	if err == nil {
		err = checkSpecifiers(e.Value)
	}
	if err != nil {
		d.problem(e.ValuePos, "%s=: %v", e.Key, err)
		return
	}
	for _, w := range words {
		one.values = append(one.values, value{w, e.ValuePos})
	}
}

// elsewhere says that a key belongs into another section.
func elsewhere(section, name string) string {
	for _, k := range Keys() {
		if k.Name == name && k.Section != section {
			return fmt.Sprintf("; it belongs into [%s]", k.Section)
		}
	}
	for _, s := range []string{sectionUnit, sectionService} {
		if slices.Contains(directives(s), name) {
			return fmt.Sprintf("; for the directive of systemd, put it into [%s]", s)
		}
	}
	return ""
}

// split makes of a value what rkt run shall get.
func split(kind Kind, s string) ([]string, error) {
	switch kind {
	case Words:
		return unit.Split(s)
	case Path, Paths:
		if first, _ := sample(s); !strings.HasPrefix(first, "/") {
			return nil, fmt.Errorf("%q is no absolute path", s)
		}
	case Bool:
		v, err := boolean(s)
		return []string{v}, err
	}
	return []string{s}, nil
}

func boolean(s string) (string, error) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return "true", nil
	case "0", "no", "n", "false", "f", "off":
		return "false", nil
	}
	return "", fmt.Errorf("%q is neither yes nor no", s)
}

// checkApps looks at what has to be there.
func (d *Declaration) checkApps() {
	manifest := d.pod.get(keyManifest)
	if len(d.apps) == 0 && manifest == nil {
		d.problem(unit.Pos{File: d.Source.Path}, "there is nothing to run: add a section [App NAME] with Image=, or PodManifest= in [Pod]")
	}
	for _, a := range d.apps {
		if a.get(keyImage) == nil {
			d.problem(a.pos, "[%s]: Image= is missing", strings.TrimSpace(SectionApp+" "+a.name))
		}
		for _, v := range a.values(keyImage) {
			if strings.HasPrefix(v.text, "-") {
				d.problem(v.pos, "Image=: %q begins with a dash", v.text)
			}
			if strings.HasPrefix(v.text, "./") || strings.HasPrefix(v.text, "../") {
				d.problem(v.pos, "Image=: %q is no absolute path", v.text)
			}
		}
		for _, v := range a.values(keyArgs) {
			if v.text == endArgs {
				d.problem(v.pos, "Args=: an app of rkt run cannot have the argument %q", v.text)
			}
		}
	}
	if in := d.pod.get(keyInsecure); in != nil {
		d.warn(in.values[0].pos, "InsecureOptions=%s switches security features off", in.values[0].text)
	}
}

func (s settings) values(name string) []value {
	if one := s.get(name); one != nil {
		return one.values
	}
	return nil
}

// Sort orders problems and warnings by where they are.
func (d *Declaration) Sort() {
	rank := map[string]int{}
	for i, path := range append([]string{d.Source.Path}, d.Source.DropIns...) {
		rank[path] = i
	}
	by := func(a, b unit.Problem) int {
		return cmp.Or(cmp.Compare(rank[a.Pos.File], rank[b.Pos.File]), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	}
	slices.SortStableFunc(d.Problems, by)
	slices.SortStableFunc(d.Warnings, by)
}
