// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// debianPackage is an installed package that files were taken from.
type debianPackage struct {
	name    string
	version string
}

// dpkg asks the package database of the building machine.
type dpkg struct {
	// query runs dpkg-query and returns what it prints on standard output,
	// also together with an error.
	query func(args ...string) (string, error)
}

func newDpkg() dpkg {
	return dpkg{query: func(args ...string) (string, error) {
		cmd := exec.Command("dpkg-query", args...)
		cmd.Env = append(cmd.Environ(), "LC_ALL=C")
		out, err := cmd.Output()
		if errors.Is(err, exec.ErrNotFound) {
			return "", errors.New("no dpkg-query: stage1-coreos is made of Debian packages and has to be built on Debian or a derivative")
		}
		return string(out), err
	}}
}

// owners returns the name of the package of each file, with the architecture
// if there may be several.
func (d dpkg) owners(files []string) (map[string]string, error) {
	// Packages from before the merge of / and /usr list /lib/x for what is
	// /usr/lib/x.
	args := []string{"--search", "--"}
	for _, f := range files {
		args = append(args, f, strings.TrimPrefix(f, "/usr"))
	}
	// The status says only that some of the names are in no package.
	out, err := d.query(args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		names, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || strings.HasPrefix(line, "diversion by ") {
			continue
		}
		name, _, _ := strings.Cut(names, ", ")
		found[path] = name
	}
	owner := map[string]string{}
	for _, f := range files {
		for _, path := range []string{f, strings.TrimPrefix(f, "/usr")} {
			if name := found[path]; name != "" {
				owner[f] = name
			}
		}
		if owner[f] == "" {
			return nil, fmt.Errorf("%s is in no package", f)
		}
	}
	return owner, nil
}

// versions returns the packages with their versions, in order, their names
// without architecture.
func (d dpkg) versions(names []string) ([]debianPackage, error) {
	args := append([]string{"--show", "--showformat=${Package}\t${Version}\n", "--"}, names...)
	out, err := d.query(args...)
	if err != nil {
		return nil, fmt.Errorf("versions of packages: %w", err)
	}
	var all []debianPackage
	for line := range strings.Lines(out) {
		name, version, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || name == "" || version == "" {
			return nil, fmt.Errorf("dpkg-query says %q where a package and its version should be", line)
		}
		all = append(all, debianPackage{name, version})
	}
	slices.SortFunc(all, func(a, b debianPackage) int { return strings.Compare(a.name, b.name) })
	if all = slices.Compact(all); len(all) != len(names) {
		return nil, fmt.Errorf("dpkg-query knows %d of %d packages", len(all), len(names))
	}
	return all, nil
}
