// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/md5" //nolint:gosec // the format wants it; it guards against decay, not against people
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// control writes the directory DEBIAN.
func (b *build) control() error {
	sums, size, err := b.contents()
	if err != nil {
		return err
	}
	units, services, err := b.units()
	if err != nil {
		return err
	}
	fill := strings.NewReplacer(
		"@VERSION@", b.debianVersion(), "@ARCH@", arch(), "@MAINTAINER@", b.maintainer,
		"@SIZE@", fmt.Sprint(size), "@BUILTUSING@", b.builtUsing,
		"@UNITS@", strings.Join(units, " "), "@SERVICES@", strings.Join(services, " "),
	)
	for name, mode := range map[string]fs.FileMode{"control": 0o644, "postinst": 0o755, "prerm": 0o755, "postrm": 0o755} {
		text, err := os.ReadFile(filepath.Join(b.scripts, name))
		if err != nil {
			return err
		}
		if err := b.write(controlDir+"/"+name, mode, []byte(fill.Replace(string(text)))); err != nil {
			return err
		}
	}
	return b.write(controlDir+"/md5sums", 0o644, []byte(sums))
}

// contents are the checksums of all files and the size of the tree, in KiB as
// Debian counts it: files rounded up, everything else 1.
func (b *build) contents() (sums string, size int64, err error) {
	var list strings.Builder
	err = filepath.WalkDir(b.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Name() == controlDir && filepath.Dir(path) == filepath.Clean(b.root) {
			return fs.SkipDir // of an earlier run
		}
		if !e.Type().IsRegular() {
			size++
			return nil
		}
		sum, n, err := md5sum(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(b.root, path)
		size += (n + 1023) / 1024
		fmt.Fprintf(&list, "%s  %s\n", sum, name)
		return err
	})
	return list.String(), size, err
}

func md5sum(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := md5.New() //nolint:gosec // see the import
	size, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), size, err
}

const (
	controlDir = "DEBIAN"

	unitDir  = "usr/lib/systemd/system"
	gcPrefix = "rkt-gc."
)

// units are the units an administrator may enable, without those of garbage
// collection, which the scripts name; services are those of them that run on.
func (b *build) units() (units, services []string, err error) {
	entries, err := os.ReadDir(filepath.Join(b.root, unitDir))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, gcPrefix) || strings.Contains(name, "@.") {
			continue
		}
		units = append(units, name)
		if strings.HasSuffix(name, ".service") {
			services = append(services, name)
		}
	}
	return units, services, nil
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// normalize gives everything in the tree the same time, and the modes a
// package has whatever the umask was.
func normalize(root string, date time.Time) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err // dpkg-deb clamps the times of links
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if st.IsDir() || st.Mode()&0o100 != 0 {
			mode = 0o755
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chtimes(path, date, date)
	})
}
