// SPDX-License-Identifier: Apache-2.0

package scripttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Epoch is SOURCE_DATE_EPOCH in Twice.
const Epoch = "1000000000"

// Twice runs the command lines, whose first words are programs of
// testscript.Main, in two directories, at two times and with two umasks, and
// checks that the files called outputs have the same bytes. The directory has the
// tree "layout/rootfs" and a manifest; fill adds to it. The files there have
// times before and after SOURCE_DATE_EPOCH, the latter not the same.
func Twice(t *testing.T, fill func(dir string), lines []string, outputs ...string) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", Epoch)
	dirs := []string{t.TempDir(), filepath.Join(t.TempDir(), "longer", "name")}
	for i, umask := range []int{0o022, 0o077} {
		makeInput(t, dirs[i], time.Unix(1_500_000_000+int64(i)*1000, 5))
		if fill != nil {
			fill(dirs[i])
		}
		runUnder(t, umask, dirs[i], lines)
	}
	for _, name := range outputs {
		one, err := os.ReadFile(filepath.Join(dirs[0], name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(dirs[1], name))
		if err != nil {
			t.Fatal(err)
		}
		if len(one) == 0 || !bytes.Equal(one, two) {
			t.Errorf("%s: not the same bytes twice", name)
		}
	}
}

func makeInput(t *testing.T, dir string, late time.Time) {
	t.Helper()
	early := time.Unix(900_000_000, 7)
	for _, f := range []struct {
		name, content string
		mode          os.FileMode
		when          time.Time
	}{
		{"layout/manifest", `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}`, 0o644, late},
		{"layout/rootfs/bin/early", "early", 0o755, early},
		{"layout/rootfs/bin/late", "late", 0o4711, late},
		{"layout/rootfs/etc/late", "late", 0o600, late},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.content), f.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, f.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, late, f.when); err != nil {
			t.Fatal(err)
		}
	}
}

func runUnder(t *testing.T, umask int, dir string, lines []string) {
	t.Helper()
	defer unix.Umask(unix.Umask(umask))
	for _, line := range lines {
		words := strings.Fields(line)
		program, err := exec.LookPath(words[0]) // of testscript.Main
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, words[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}
