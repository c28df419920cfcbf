// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/dist/mkstage1/internal/closure"
)

const (
	// packagesFile has a line "NAME VERSION" for each package of the image.
	packagesFile = "usr/share/rkt/packages"
	// libraryDir has all libraries, whatever directory they came from, so that
	// nspawn on the host can be given one directory.
	libraryDir = "usr/lib"
	// linkerLink is the dynamic linker, by a name that is the same on every
	// architecture.
	linkerLink = "usr/lib/rkt/ld.so"

	nspawnPath = "/usr/bin/systemd-nspawn"
)

// program is a file that is taken from the building machine.
type program struct {
	path string
	// debian is the package to install if it is missing, "" if older versions
	// do without it.
	debian string
}

func programs() []program {
	return []program{
		{nspawnPath, "systemd-container"},
		{"/usr/bin/journalctl", "systemd"},
		{"/usr/bin/systemctl", "systemd"},
		{"/usr/lib/systemd/systemd", "systemd"},
		{"/usr/lib/systemd/systemd-executor", ""}, // since 255
		{"/usr/lib/systemd/systemd-journald", "systemd"},
		{"/usr/lib/systemd/systemd-shutdown", "systemd"},
	}
}

// wanted are the libraries that systemd 256 and later open on first use and
// without which a pod would miss something: mounts, filters, labels, access
// lists and the compression of journals. The others (TPM, FIDO2, encrypted
// disks, QR codes, stack traces …) have no use in a pod.
func wanted(soname string) bool {
	switch soname {
	case "libmount.so.1", "libseccomp.so.2", "libselinux.so.1", "libacl.so.1", "libzstd.so.1":
		return true
	}
	return false
}

// userSpace gathers systemd, nspawn and what they need from the packages of
// the building machine.
type userSpace struct {
	arch string // in Go's words
	dpkg dpkg
}

// add puts everything into the tree and returns the packages it came from.
func (u userSpace) add(t tree) ([]debianPackage, error) {
	files, err := find("/", programs()) // path in the image to file
	if err != nil {
		return nil, err
	}
	nspawn := files[inTree(nspawnPath)]
	f, err := finder(u.arch)
	if err != nil {
		return nil, err
	}
	libs, err := f.Find(slices.Sorted(maps.Values(files))...)
	if err != nil {
		return nil, err
	}
	linker := inTree(libs.Interpreter)
	if files[linker], err = filepath.EvalSymlinks(libs.Interpreter); err != nil {
		return nil, fmt.Errorf("dynamic linker: %w", err)
	}
	for soname, file := range libs.Libraries {
		files[filepath.Join(libraryDir, soname)] = file
	}
	sources := slices.Compact(slices.Sorted(maps.Values(files)))
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
	t.symlink(linkerLink, "../../../"+linker)
	t.file("systemd-version", 0o644, []byte("v"+strconv.Itoa(version.release)+"\n"))
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

// find returns where the programs are, by their paths in the image.
func find(root string, all []program) (map[string]string, error) {
	found := map[string]string{}
	for _, p := range all {
		path, err := filepath.EvalSymlinks(filepath.Join(root, p.path))
		switch {
		case err == nil:
			found[inTree(p.path)] = path
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case p.debian != "":
			return nil, fmt.Errorf("no %s: install the Debian package %s (make deps does)", p.path, p.debian)
		}
	}
	return found, nil
}

// inTree is the place of a file of the building machine in the image, where
// /lib, /lib64 and /bin are links.
func inTree(path string) string {
	path = strings.TrimPrefix(path, "/")
	if !strings.HasPrefix(path, "usr/") {
		path = "usr/" + path
	}
	return path
}

func finder(goarch string) (closure.Finder, error) {
	f := closure.Finder{Opened: wanted}
	var triplet string
	switch goarch {
	case "amd64":
		f.Machine, triplet = elf.EM_X86_64, "x86_64-linux-gnu"
	case "arm64":
		f.Machine, triplet = elf.EM_AARCH64, "aarch64-linux-gnu"
	default:
		return closure.Finder{}, fmt.Errorf("no stage1-coreos for %s", goarch)
	}
	f.Dirs = []string{"/usr/lib/" + triplet, "/lib/" + triplet, "/usr/lib", "/usr/lib64"}
	return f, nil
}
