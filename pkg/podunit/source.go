// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/unit"
)

// Dir is the name of the directories below /etc/rkt, /run/rkt and /usr/lib/rkt.
const Dir = "pods.d"

// Suffix ends the name of a declaration.
const Suffix = ".pod"

const (
	dropInSuffix = ".d"
	confSuffix   = ".conf"
	maxUnitName  = 255 // systemd.unit(5)
	// maxSources and maxDropIns keep a runaway directory from holding up the boot.
	maxSources = 4096
	maxDropIns = 64
)

// Source is a declaration on disk.
type Source struct {
	Name    string   // without the suffix: "web", "web@", "web@1"
	Path    string   // the file that counts
	Masked  bool     // it is empty or a link to /dev/null: there is no service
	DropIns []string // in the order they are read
	Shadows []string // files of the same name that do not count

	text string
	err  error // the file cannot be read
}

// Find lists the declarations in the directories, given in falling priority as
// systemd's: /etc/rkt/pods.d, /run/rkt/pods.d, /usr/lib/rkt/pods.d. The problems
// are about files that are no declaration though they look as if they were
// meant to be.
func Find(dirs []string) (sources []*Source, problems []unit.Problem) {
	byName := map[string]*Source{}
	dropIns := map[string]bool{}
	complain := func(path, format string, args ...any) {
		problems = append(problems, unit.Problem{Pos: unit.Pos{File: path}, Text: fmt.Sprintf(format, args...)})
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			complain(dir, "cannot be read: %v", err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if base, ok := strings.CutSuffix(e.Name(), Suffix+dropInSuffix); ok {
				dropIns[base] = true
				continue
			}
			name, ok := strings.CutSuffix(e.Name(), Suffix)
			switch {
			case strings.HasPrefix(e.Name(), "."), e.Name() == strings.TrimPrefix(Suffix, ".")+dropInSuffix:
				continue
			case !ok:
				complain(path, "is not read: the name of a declaration ends in %s", Suffix)
				continue
			case !validName(name):
				complain(path, "is not read: %q cannot be the name of a unit; use letters, digits and :-_.", name)
				continue
			case byName[name] != nil:
				byName[name].Shadows = append(byName[name].Shadows, path)
				continue
			case len(sources) == maxSources:
				complain(path, "is not read: there are more than %d declarations", maxSources)
				continue
			}
			s := &Source{Name: name, Path: path}
			s.text, s.err = unit.Read(path)
			s.Masked = s.err == nil && s.text == ""
			byName[name] = s
			sources = append(sources, s)
		}
	}
	for _, s := range sources {
		s.findDropIns(dirs, complain)
	}
	for _, base := range orphans(dropIns, byName) {
		complain(base+Suffix+dropInSuffix, "is not read: there is no %s", base+Suffix)
	}
	slices.SortFunc(sources, func(a, b *Source) int { return strings.Compare(a.Name, b.Name) })
	return sources, problems
}

// orphans are the directories of drop-ins that belong to no declaration.
func orphans(dropIns map[string]bool, byName map[string]*Source) (out []string) {
	used := map[string]bool{}
	for name := range byName {
		for _, base := range dropInBases(name) {
			used[base] = true
		}
	}
	for base := range dropIns {
		if !used[base] {
			out = append(out, base)
		}
	}
	slices.Sort(out)
	return out
}

// dropInBases are the names whose drop-ins a declaration has, the most
// particular first: web-front@1, web-front@, web- (systemd.unit(5)).
func dropInBases(name string) []string {
	bases := []string{name}
	prefix, _, isTemplate := strings.Cut(name, "@")
	if isTemplate && name != prefix+"@" {
		bases = append(bases, prefix+"@")
	}
	for i := len(prefix) - 2; i >= 0; i-- {
		if prefix[i] == '-' {
			bases = append(bases, prefix[:i+1])
		}
	}
	return bases
}

func (s *Source) findDropIns(dirs []string, complain func(path, format string, args ...any)) {
	var places []string
	for _, dir := range dirs {
		for _, base := range dropInBases(s.Name) {
			places = append(places, filepath.Join(dir, base+Suffix+dropInSuffix))
		}
	}
	for _, dir := range dirs { // for all pods; anything else comes before
		places = append(places, filepath.Join(dir, strings.TrimPrefix(Suffix, ".")+dropInSuffix))
	}
	first := map[string]string{}
	for _, place := range places {
		entries, err := os.ReadDir(place)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			complain(place, "cannot be read: %v", err)
		}
		for _, e := range entries {
			path := filepath.Join(place, e.Name())
			switch {
			case strings.HasPrefix(e.Name(), "."):
			case !strings.HasSuffix(e.Name(), confSuffix):
				complain(path, "is not read: the name of a drop-in ends in %s", confSuffix)
			case first[e.Name()] == "" && len(first) < maxDropIns:
				first[e.Name()] = path
			case first[e.Name()] == "":
				complain(path, "is not read: there are more than %d drop-ins", maxDropIns)
			}
		}
	}
	for _, path := range first {
		s.DropIns = append(s.DropIns, path)
	}
	slices.SortFunc(s.DropIns, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
}

// File is a declaration that is no part of any directory, for a look at it
// before it is put there.
func File(path string) *Source {
	s := &Source{Name: strings.TrimSuffix(filepath.Base(path), Suffix), Path: path}
	s.text, s.err = unit.Read(path)
	s.Masked = s.err == nil && s.text == ""
	return s
}

// Service is the name of the unit.
func (s *Source) Service() string { return s.Name + ".service" }

// validName: what systemd takes as the name of a service, with room for the
// endings. An at sign may come once, after the first letter.
func validName(name string) bool {
	if name == "" || len(name)+len(".service") > maxUnitName || name[0] == '@' || name[0] == '.' || strings.Count(name, "@") > 1 {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune(`:-_.\@`, c)
	})
}
