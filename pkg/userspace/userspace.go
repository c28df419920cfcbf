// SPDX-License-Identifier: Apache-2.0

// Package userspace lists what of a distribution a pod needs inside: systemd,
// its helpers, the libraries of all of them and the dynamic linker. The build
// puts it into stage1-coreos; stage1-host shows the host's own to each pod.
package userspace

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/closure"
)

// LibraryDir has all libraries of a stage1 tree, whatever directory they came
// from, so that nspawn on the host can be given one directory.
const LibraryDir = "usr/lib"

// Nspawn is where distributions have systemd-nspawn.
const Nspawn = "/usr/bin/systemd-nspawn"

// Program is a file that is taken from the distribution.
type Program struct {
	Path string
	// Debian is the package to install if it is missing, "" if older versions
	// do without it.
	Debian string
}

// Programs are all of them.
func Programs() []Program {
	return []Program{
		{Nspawn, "systemd-container"},
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

// Find returns where the programs are, by their paths in the image.
func Find(root string, all []Program) (map[string]string, error) {
	found := map[string]string{}
	for _, p := range all {
		path, err := filepath.EvalSymlinks(filepath.Join(root, p.Path))
		switch {
		case err == nil:
			found[InTree(p.Path)] = path
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case p.Debian != "":
			return nil, fmt.Errorf("no %s: install the Debian package %s (make deps does)", p.Path, p.Debian)
		}
	}
	return found, nil
}

// InTree is the place of a file of the building machine in the image, where
// /lib, /lib64 and /bin are links.
func InTree(path string) string {
	path = strings.TrimPrefix(path, "/")
	if !strings.HasPrefix(path, "usr/") {
		path = "usr/" + path
	}
	return path
}

// Finder finds the libraries of an architecture, in Go's words.
func Finder(goarch string) (closure.Finder, error) {
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
