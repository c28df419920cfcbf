// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The directories of tmpfiles.d and of the script for hosts without it are the
// same, with the same modes.
func TestDirectoriesAgree(t *testing.T) {
	conf, script := map[string]string{}, map[string]string{}
	for line := range strings.Lines(read(t, "../tmpfiles.d/rkt.conf")) {
		if f := strings.Fields(line); len(f) > 4 && f[0] == "d" && f[4] == "rkt" {
			conf[strings.TrimPrefix(strings.TrimPrefix(f[1], "/var/lib/rkt"), "/")] = f[2]
		}
	}
	_, list, _ := strings.Cut(read(t, "../scripts/setup-data-dir.sh"), "<<END\n")
	list, _, _ = strings.Cut(list, "\nEND\n")
	for line := range strings.Lines(list) {
		mode, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		script[path] = mode
	}
	if len(conf) < 15 {
		t.Fatalf("tmpfiles.d has %d directories", len(conf))
	}
	if diff := cmp.Diff(conf, script); diff != "" {
		t.Errorf("tmpfiles.d and the script differ: %s", diff)
	}
}

// Their absence tells rkt that a store of rkt 1 has to be taken over.
func TestNothingHidesAnOldStore(t *testing.T) {
	for _, name := range []string{"/cas/image ", "ql.db"} {
		if strings.Contains(read(t, "../tmpfiles.d/rkt.conf"), name) {
			t.Errorf("tmpfiles.d creates %s", name)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDebianVersion(t *testing.T) {
	for version, want := range map[string]string{"2.0.0": "2.0.0-1", "2.0.0-dev": "2.0.0~dev-1", "2.0.0-rc.1+git": "2.0.0~rc.1+git-1"} {
		b := build{version: version, iteration: "1"}
		if got := b.debianVersion(); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
}

// The scripts and the checksums know what is in the tree, and a second run of
// the same is the same.
func TestControl(t *testing.T) {
	b := build{root: t.TempDir(), scripts: "../debian", version: "2.0.0", iteration: "1", maintainer: "A B <a@example.com>", builtUsing: "systemd (= 252)"}
	for _, unit := range []string{"rkt-gc.timer", "rkt-gc.service", "rkt-api.service", "rkt-api-tcp.socket"} {
		if err := b.write(unitDir+"/"+unit, 0o600, []byte(unit)); err != nil {
			t.Fatal(err)
		}
	}
	texts := [2]map[string]string{}
	for i := range texts {
		if err := b.control(); err != nil {
			t.Fatal(err)
		}
		texts[i] = map[string]string{}
		for _, name := range []string{"control", "postinst", "prerm", "postrm", "md5sums"} {
			texts[i][name] = read(t, filepath.Join(b.root, "DEBIAN", name))
		}
	}
	if diff := cmp.Diff(texts[0], texts[1]); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"control": "\nBuilt-Using: systemd (= 252)\n", "postrm": "deb-systemd-helper purge rkt-gc.timer rkt-api-tcp.socket rkt-api.service >",
		"postinst": "for unit in rkt-api.service; do", "md5sums": "  usr/lib/systemd/system/rkt-gc.timer\n",
	} {
		if !strings.Contains(texts[0][name], want) || strings.Contains(texts[0][name], "@") && name != "control" && strings.Contains(texts[0][name], "@UNITS@") {
			t.Errorf("%s has no %q or something unfilled:\n%s", name, want, texts[0][name])
		}
	}
	if strings.Count(texts[0]["md5sums"], "\n") != 4 {
		t.Errorf("checksums: %s", texts[0]["md5sums"])
	}
}

func TestNormalize(t *testing.T) {
	b := build{root: t.TempDir()}
	if err := b.write("usr/bin/x", 0o700, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.write("usr/share/y", 0o600, nil); err != nil {
		t.Fatal(err)
	}
	date := time.Unix(1000, 0)
	if err := normalize(b.root, date); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"usr/bin/x": 0o755, "usr/share/y": 0o644, "usr": os.ModeDir | 0o755} {
		st, err := os.Stat(filepath.Join(b.root, name))
		if err != nil || st.Mode() != want || !st.ModTime().Equal(date) {
			t.Errorf("%s: %v %v %v", name, err, st.Mode(), st.ModTime())
		}
	}
}
