// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dependencies are the directives whose units systemd loads; a missing one is
// an error in the log or of the unit.
var dependencies = regexp.MustCompile(`^(Requires|Wants|BindsTo|PartOf|OnFailure|OnSuccess|Conflicts|After|Before|Sockets|Service)=(.*)$`)

// The units of the image name no unit that is not there, start no program that
// is not there, and none gets the dependencies of a whole system.
func TestUnits(t *testing.T) {
	x := tree{}
	if err := x.addDir(staticFiles + "/rootfs"); err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for name := range x {
		if dir, unit := path.Split(name); dir == unitDir+"/" {
			has[unit] = true
		}
	}
	for _, want := range []string{
		"exit.target", "poweroff.target", "halt.target", "reboot.target", "ctrl-alt-del.target",
		"shutdown.target", "umount.target", "final.target", "sockets.target", "local-fs.target",
		"emergency.target", "rescue.target",
		"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
	} {
		if !has[want] {
			t.Errorf("no %s", want)
		}
	}
	known := []string{"/usr/lib/systemd/systemd-journald"}
	for name, n := range x {
		if !strings.HasPrefix(name, unitDir+"/") || n.body == nil {
			continue
		}
		text := string(n.body)
		if !strings.Contains(text, "\nDefaultDependencies=no\n") {
			t.Errorf("%s has default dependencies", name)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if m := dependencies.FindStringSubmatch(line); m != nil {
				for unit := range strings.FieldsSeq(m[2]) {
					if !has[unit] {
						t.Errorf("%s: %s: there is no %s", name, m[1], unit)
					}
				}
			}
			if command, ok := strings.CutPrefix(line, "ExecStart="); ok && !slices.Contains(known, command) {
				t.Errorf("%s starts %s", name, command)
			}
		}
	}
}

// hosts-fallback as an app sees it.
func TestHostsFallback(t *testing.T) {
	x := tree{}
	if err := x.addDir(staticFiles + "/rootfs"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(x["etc/hosts-fallback"].body), "\n")
	if len(lines) != 10 || !strings.HasPrefix(lines[0], "#") || strings.Fields(lines[1])[0] != "127.0.0.1" ||
		lines[2] != "" || strings.Fields(lines[3])[0] != "::1" || lines[9] != "" {
		t.Errorf("hosts-fallback is %q", lines)
	}
}
