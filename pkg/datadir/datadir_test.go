// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

func stat(t *testing.T, path string) (fs.FileMode, int) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode(), int(st.Sys().(*syscall.Stat_t).Gid)
}

func TestMakeForGroup(t *testing.T) {
	testenv.NeedsRoot(t)
	const gid = 4321
	dir := filepath.Join(t.TempDir(), "deep", "data")
	group := func() (int, bool) { return gid, true }
	if err := makeFor(group, dir, "locks", "pods/run"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "locks", "pods", "pods/run"} {
		mode, got := stat(t, filepath.Join(dir, path))
		if want := fs.ModeDir | fs.ModeSetgid | 0o750; mode != want || got != gid {
			t.Errorf("%q is %v of group %d, want %v of group %d", path, mode, got, want, gid)
		}
	}
}

func TestMakeWithoutGroup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := makeFor(func() (int, bool) { return 0, false }, dir, "tmp"); err != nil {
		t.Fatal(err)
	}
	if mode, gid := stat(t, dir); mode != fs.ModeDir|fs.ModeSetgid|0o750 || gid != os.Getegid() {
		t.Errorf("data directory is %v of group %d", mode, gid)
	}
}

// What an administrator made stays as it is.
func TestMakeLeavesExisting(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := Make(dir, "tmp"); err != nil {
		t.Fatal(err)
	}
	if mode, _ := stat(t, dir); mode != fs.ModeDir|0o711 {
		t.Errorf("data directory is %v now", mode)
	}
}
