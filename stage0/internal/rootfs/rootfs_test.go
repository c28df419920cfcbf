// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

func open(t *testing.T, dir string, shift uint32) *Stage1 {
	t.Helper()
	s, err := OpenStage1(dir, shift)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestPlaceApp(t *testing.T) {
	dir := t.TempDir()
	path, err := open(t, dir, 0).PlaceApp("app", []byte("{}"))
	if err != nil || path != dir+"/opt/stage2/app/rootfs" {
		t.Fatalf("%q, %v", path, err)
	}
	if data, err := os.ReadFile(dir + "/opt/stage2/app/manifest"); err != nil || string(data) != "{}" {
		t.Errorf("manifest %q, %v", data, err)
	}
	if _, err := open(t, dir, 0).PlaceApp("app", []byte("{}")); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestShift(t *testing.T) {
	testenv.NeedsRoot(t)
	dir := t.TempDir()
	if _, err := open(t, dir, 65536).PlaceApp("app", nil); err != nil {
		t.Fatal(err)
	}
	for _, rel := range []string{"opt", "opt/stage2", "opt/stage2/app", "opt/stage2/app/manifest", "opt/stage2/app/rootfs"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, rel), &st); err != nil || st.Uid != 65536 || st.Gid != 65536 {
			t.Errorf("%s belongs to %d:%d, %v", rel, st.Uid, st.Gid, err)
		}
	}
}

func TestTouchStatus(t *testing.T) {
	for _, prepared := range []bool{true, false} {
		dir := t.TempDir()
		if prepared {
			put(t, filepath.Join(dir, poddir.StatusDir, "x"), "")
		}
		if err := open(t, dir, 0).TouchStatus(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, poddir.StatusDir)); err != nil {
			t.Error(err)
		}
	}
}

func TestLinkMtab(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, rootfs string)
		want string // target of etc/mtab, empty: there is none
	}{
		{"etc", func(t *testing.T, r string) { put(t, r+"/etc/passwd", "") }, "../proc/self/mounts"},
		{"no etc", func(*testing.T, string) {}, ""},
		{"etc is a file", func(t *testing.T, r string) { put(t, r+"/etc", "") }, ""},
		{"there is one", func(t *testing.T, r string) { symlink(t, "elsewhere", r+"/etc/mtab") }, "elsewhere"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, 0)
			rootfs, err := s.PlaceApp("app", nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.make(t, rootfs)
			if err := s.LinkMtab("app"); err != nil {
				t.Error(err)
			}
			if got, _ := os.Readlink(rootfs + "/etc/mtab"); got != tt.want {
				t.Errorf("etc/mtab -> %q, want %q", got, tt.want)
			}
		})
	}
}

// Images decide what their trees contain; nothing of the host may be touched.
func TestHostileImages(t *testing.T) {
	outside := t.TempDir()
	put(t, outside+"/hosts", "precious")
	check := func(t *testing.T) {
		t.Helper()
		entries, err := os.ReadDir(outside)
		if err != nil || len(entries) != 1 {
			t.Errorf("outside has %v, %v", entries, err)
		}
		if data, err := os.ReadFile(outside + "/hosts"); err != nil || string(data) != "precious" {
			t.Errorf("file outside: %q, %v", data, err)
		}
	}
	t.Run("app's etc is a link", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, 0)
		rootfs, err := s.PlaceApp("app", nil)
		if err != nil {
			t.Fatal(err)
		}
		symlink(t, outside, rootfs+"/etc")
		if err := s.LinkMtab("app"); err != nil {
			t.Error(err)
		}
		check(t)
	})
	t.Run("stage1's opt is a link", func(t *testing.T) {
		dir := t.TempDir()
		symlink(t, outside, dir+"/opt")
		if _, err := open(t, dir, 0).PlaceApp("app", nil); err == nil {
			t.Error("placed through a link")
		}
		check(t)
	})
	t.Run("app's manifest is a link", func(t *testing.T) {
		dir := t.TempDir()
		symlink(t, outside+"/hosts", dir+"/opt/stage2/app/manifest")
		if _, err := open(t, dir, 0).PlaceApp("app", []byte("{}")); err == nil {
			t.Error("written through a link")
		}
		check(t)
	})
	t.Run("DNS file is a link", func(t *testing.T) {
		dir := t.TempDir()
		symlink(t, outside+"/hosts", dir+"/"+poddir.Hosts)
		if err := open(t, dir, 0).WriteDNS(poddir.Hosts, []byte("x")); err == nil {
			t.Error("written through a link")
		}
		check(t)
	})
	t.Run("status directory is a link", func(t *testing.T) {
		dir := t.TempDir()
		symlink(t, outside, dir+"/rkt/status")
		if err := open(t, dir, 0).TouchStatus(); err == nil {
			t.Error("touched through a link")
		}
		check(t)
	})
}

func TestOverlayAttributes(t *testing.T) {
	testenv.NeedsRoot(t)
	base := t.TempDir()
	lower, target := base+"/lower", base+"/target"
	for _, d := range []string{lower, target} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(lower, 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(lower, 0o1751|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	o := Overlay{PodDir: base, TreeID: "deps-x", App: "app", Lowers: []string{lower}, Target: target, GID: 56}
	upper, work := filepath.Join(base, poddir.OverlayUpper("deps-x", "app")), filepath.Join(base, poddir.OverlayWork("deps-x", "app"))
	for range 2 { // a second app of the same image finds the directories there
		if err := o.makeDirs(upper, work); err != nil {
			t.Fatal(err)
		}
	}
	var want, got, tree unix.Stat_t
	for path, st := range map[string]*unix.Stat_t{lower: &want, upper: &got, base + "/overlay/deps-x": &tree} {
		if err := unix.Lstat(path, st); err != nil {
			t.Fatal(err)
		}
	}
	if got.Mode != want.Mode || got.Uid != 12 || got.Gid != 34 {
		t.Errorf("upper is %o %d:%d, want %o 12:34", got.Mode, got.Uid, got.Gid, want.Mode)
	}
	if tree.Gid != 56 || tree.Mode&0o7777 != 0o750 {
		t.Errorf("tree directory is %o, group %d", tree.Mode, tree.Gid)
	}
}
