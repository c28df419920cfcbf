// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/userspace"
)

const (
	// packagesFile has a line "NAME VERSION" for each package of the image.
	packagesFile = "usr/share/rkt/packages"
	// linkerLink is the dynamic linker, by a name that is the same on every
	// architecture.
	linkerLink = "usr/lib/rkt/ld.so"
)

// userSpace gathers systemd, nspawn and what they need from the packages of
// the building machine.
type userSpace struct {
	arch string // in Go's words
	dpkg dpkg
	// programs and data are further files, by path in the image; others are
	// packages that are in the image already.
	programs, data map[string]string
	others         []debianPackage
}

// add puts everything into the tree and returns the packages it came from.
func (u userSpace) add(t tree) ([]debianPackage, error) {
	files, err := userspace.Find("/", userspace.Programs()) // path in the image to file
	if err != nil {
		return nil, err
	}
	nspawn := files[userspace.InTree(userspace.Nspawn)]
	maps.Copy(files, u.programs)
	f, err := userspace.Finder(u.arch)
	if err != nil {
		return nil, err
	}
	libs, err := f.Find(slices.Sorted(maps.Values(files))...)
	if err != nil {
		return nil, err
	}
	linker := userspace.InTree(libs.Interpreter)
	if files[linker], err = filepath.EvalSymlinks(libs.Interpreter); err != nil {
		return nil, fmt.Errorf("dynamic linker: %w", err)
	}
	for soname, file := range libs.Libraries {
		files[filepath.Join(userspace.LibraryDir, soname)] = file
	}
	sources := sortedFiles(files, u.data)
	owners, err := u.dpkg.owners(sources)
	if err != nil {
		return nil, err
	}
	packages, err := u.dpkg.versions(slices.Compact(slices.Sorted(maps.Values(owners))))
	if err != nil {
		return nil, err
	}
	version, err := checkNspawn("/", packages, owners[nspawn])
	if err != nil {
		return nil, err
	}
	for name, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t.file(name, 0o755, body)
	}
	for name, file := range u.data {
		body, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t.file(name, 0o644, body)
	}
	t.symlink(linkerLink, "../../../"+linker)
	t.file("systemd-version", 0o644, []byte("v"+strconv.Itoa(version.release)+"\n"))
	packages = append(packages, u.others...)
	slices.SortFunc(packages, func(a, b debianPackage) int { return strings.Compare(a.name, b.name) })
	if err := record(t, "/", packages); err != nil {
		return nil, err
	}
	return packages, addLinkerCache(t)
}

// record notes the packages in the tree and adds their licences.
func record(t tree, root string, packages []debianPackage) error {
	var list strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&list, "%s %s\n", p.name, p.version)
		name := filepath.Join("usr/share/doc", p.name, "copyright")
		if _, ok := t[name]; ok {
			continue // of a package that is not installed
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return fmt.Errorf("licence of %s: %w", p.name, err)
		}
		t.file(name, 0o644, text)
	}
	t.file(packagesFile, 0o644, []byte(list.String()))
	return nil
}

// checkNspawn returns the version of the package that nspawn is from, unless
// it must not be used.
func checkNspawn(root string, packages []debianPackage, name string) (upstream, error) {
	name, _, _ = strings.Cut(name, ":")
	i := slices.IndexFunc(packages, func(p debianPackage) bool { return p.name == name })
	if i < 0 {
		return upstream{}, fmt.Errorf("no version of %s", name)
	}
	err := checkHoles(holes(), packages[i], func() (string, error) { return readChangelog(root, name) })
	if err != nil {
		return upstream{}, err
	}
	return parseUpstream(packages[i].version)
}
