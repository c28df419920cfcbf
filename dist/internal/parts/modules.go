// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Module is a Go module that is linked into a program.
type Module struct{ Path, Version, Sum string }

func (m Module) String() string { return m.Path + "@" + m.Version }

// Modules are the modules in the programs, in order, each once. The Go runtime
// and standard library are the module "std".
func Modules(programs []string) ([]Module, error) {
	found := map[Module]bool{}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return nil, err
		}
		found[Module{Path: "std", Version: info.GoVersion}] = true
		for _, dep := range info.Deps {
			if dep.Replace != nil {
				dep = dep.Replace
			}
			found[Module{dep.Path, dep.Version, dep.Sum}] = true
		}
		// The plugins are commands of another module, which is not a dependency.
		if main := info.Main; main.Path != "github.com/rkt/rkt/v2" && main.Version != "" && main.Version != "(devel)" {
			found[Module{main.Path, main.Version, main.Sum}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b Module) int { return strings.Compare(a.String(), b.String()) }), nil
}

// licence is what files with terms are called.
var licence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// Licences are the texts of a module's terms by file name; there is at least one.
func (m Module) Licences() (map[string]string, error) {
	dir, err := m.dir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, e := range entries {
		if e.IsDir() || !licence.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts[e.Name()] = string(text)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("module %s has no licence in %s", m, dir)
	}
	return texts, nil
}

// dir is where the sources of the module are.
func (m Module) dir() (string, error) {
	if m.Path == "std" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		return strings.TrimSpace(string(out)), err
	}
	out, err := exec.Command("go", "mod", "download", "-json", m.String()).Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		return "", fmt.Errorf("find module %s: %w", m, errors.Join(err, jsonErr))
	}
	if answer.Error != "" || answer.Dir == "" {
		return "", fmt.Errorf("find module %s: %s", m, answer.Error)
	}
	return answer.Dir, nil
}

// WriteLicences writes the terms of all parts, one after the other.
func WriteLicences(w io.Writer, modules []Module, packages []Package) error {
	var b strings.Builder
	head := func(text string) {
		fmt.Fprintf(&b, "%s\n%s\n%s\n\n", strings.Repeat("=", 78), text, strings.Repeat("=", 78))
	}
	for _, m := range modules {
		texts, err := m.Licences()
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			head("Go module " + m.String() + ": " + name)
			b.WriteString(strings.TrimRight(texts[name], "\n") + "\n\n")
		}
	}
	for _, p := range packages {
		head("Debian package " + p.Name + " " + p.Version + ", in stage1-coreos.aci")
		b.WriteString(strings.TrimRight(p.Copyright, "\n") + "\n\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
