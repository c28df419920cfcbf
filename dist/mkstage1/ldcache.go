// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const linkerCache = "etc/ld.so.cache"

// addLinkerCache puts in the cache of the dynamic linker, which spares every
// program of a pod some hundred failed look-ups. ldconfig notes names only, no
// times, so the same libraries give the same bytes.
func addLinkerCache(t tree) (err error) {
	ldconfig, err := findLdconfig()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mkstage1-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := stageLibraries(t, dir); err != nil {
		return err
	}
	// -X: no new links; the names are the sonames already.
	cmd := exec.Command(ldconfig, "-X", "-r", dir, "-f", "/etc/ld.so.conf", "-C", "/"+linkerCache)
	cmd.Env = []string{"LC_ALL=C"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ldconfig: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	cache, err := os.ReadFile(filepath.Join(dir, linkerCache))
	if err != nil {
		return err
	}
	for _, trace := range []string{dir, filepath.Base(dir)} {
		if bytes.Contains(cache, []byte(trace)) {
			return fmt.Errorf("ldconfig noted the directory %s", trace)
		}
	}
	t.file(linkerCache, 0o644, cache)
	return nil
}

// findLdconfig also looks where the PATH of a user does not.
func findLdconfig() (string, error) {
	for _, name := range []string{"ldconfig", "/usr/sbin/ldconfig", "/sbin/ldconfig"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no ldconfig: install the Debian package libc-bin")
}

// stageLibraries lays out below dir what ldconfig looks at.
func stageLibraries(t tree, dir string) error {
	for _, sub := range []string{"etc", "usr/lib", "usr/lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/ld.so.conf"), nil, 0o644); err != nil {
		return err
	}
	for _, link := range []string{"lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(dir, link)); err != nil {
			return err
		}
	}
	for name, n := range t {
		if d := filepath.Dir(name); len(n.body) == 0 || d != "usr/lib" && d != "usr/lib64" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), n.body, 0o755); err != nil {
			return err
		}
	}
	return nil
}
