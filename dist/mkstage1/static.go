// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// addReserved puts in the directories that every stage1 image has (spec
// stage1.md 2.2).
func addReserved(t tree) {
	for _, dir := range []string{"etc", poddir.Stage2, poddir.StatusDir, poddir.EnvDir} {
		t.dir(dir, 0o755)
	}
}

// addSystem puts in what a pod under systemd has beside its programs: units
// and settings from the directory files, places to mount on, and links that
// systemd looks for.
func (f flavor) addSystem(t tree, files, version string) error {
	if !versionLabel.MatchString(version) {
		return fmt.Errorf("version %q does not fit into os-release", version)
	}
	if err := t.addDir(filepath.Join(files, "rootfs")); err != nil {
		return err
	}
	for _, dir := range []string{
		"dev", "proc", "run", "sys", // mounted by nspawn
		"rkt/iottymux", "rkt/volumes",
		"usr/bin", "usr/lib64",
		unitDir + "/default.target.wants", unitDir + "/sockets.target.wants",
		"var/lib", poddir.JournalDir,
	} {
		t.dir(dir, 0o755)
	}
	t.dir("root", 0o700)
	t.dir(poddir.LaunchDir, 0o700) // what apps are held to
	t.dir("tmp", 0o1777)
	t.dir("var/tmp", 0o1777)
	// One tree of programs and libraries: without, systemd calls itself
	// tainted, and looks in two places for everything.
	t.symlink("bin", "usr/bin")
	t.symlink("sbin", "usr/bin")
	t.symlink("usr/sbin", "bin")
	t.symlink("lib", "usr/lib")
	t.symlink("lib64", "usr/lib64")
	t.symlink("var/run", "../run")
	t.symlink("etc/mtab", "../proc/self/mounts")
	t.symlink(poddir.Flavor, f.name)
	t.file("etc/os-release", 0o644, []byte(fmt.Sprintf("ID=rkt\nNAME=rkt\nPRETTY_NAME=\"rkt stage1-%s %s\"\nVERSION_ID=%s\n", f.name, version, version)))
	return nil
}

const unitDir = "usr/lib/systemd/system"

var versionLabel = regexp.MustCompile(`^[A-Za-z0-9.+~_-]+$`)
