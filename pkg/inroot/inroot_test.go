// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes dir/… from lines "d PATH", "f PATH CONTENT", "l PATH TARGET".
func tree(t testing.TB, lines ...string) (*Root, string) {
	t.Helper()
	dir := t.TempDir()
	for _, l := range lines {
		f := strings.Fields(l)
		p := filepath.Join(dir, f[1])
		var err error
		switch f[0] {
		case "d":
			err = os.MkdirAll(p, 0o755)
		case "f":
			err = os.WriteFile(p, []byte(f[2]), 0o644)
		case "l":
			err = os.Symlink(f[2], p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, dir
}

func TestResolve(t *testing.T) {
	r, _ := tree(t, "d b/c", "d dir", "f file x", "l a /b", "l rel b/c", "l up ../../../b", "l loop loop",
		"l dangling /not/there", "l dir/back ..", "l esc /../../etc", "l chain a", "l viafile file/x")
	for name, want := range map[string]string{
		"/a/x":                   "/b/x",
		"a":                      "/b",
		"/dir/../../../foo":      "/foo",
		"../../foo":              "/foo",
		"":                       "/",
		"/":                      "/",
		"///b//.//c/":            "/b/c",
		"/rel/../d":              "/b/d",
		"/up/c":                  "/b/c",
		"/dangling/more":         "/not/there/more",
		"/dangling/../x":         "/not/x",
		"/dir/back/b":            "/b",
		"/esc/passwd":            "/etc/passwd",
		"/chain/c":               "/b/c",
		"/file/x/../y":           "/file/y",
		"/viafile":               "/file/x",
		"/missing/../a/c":        "/b/c",
		"/missing/deep/../../a/": "/b",
	} {
		if got, err := r.Resolve(name); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := r.Resolve("/loop/x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("loop: %v", err)
	}
}

func TestResolveLinkLimit(t *testing.T) {
	lines := []string{"d end"}
	for i := range 256 {
		target := "l" + strconv.Itoa(i-1)
		if i == 0 {
			target = "end"
		}
		lines = append(lines, "l l"+strconv.Itoa(i)+" "+target)
	}
	r, _ := tree(t, lines...)
	if got, err := r.Resolve("/l254"); err != nil || got != "/end" {
		t.Errorf("255 links: %q, %v", got, err)
	}
	if _, err := r.Resolve("/l255"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("256 links: %v", err)
	}
	// More links than the kernel follows (40) still make a target.
	f, err := r.Target("/l254/made", true)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

// outside returns a root with links that point to a directory beside it.
func outside(t testing.TB) (*Root, string) {
	base := t.TempDir()
	victim := filepath.Join(base, "victim")
	root := filepath.Join(base, "root")
	for _, d := range []string{victim, root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"abs": victim, "rel": "../victim", "deep": "../../../../../../.." + victim} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, victim
}

func TestHostileLinks(t *testing.T) {
	r, victim := outside(t)
	for _, name := range []string{"abs", "rel", "deep"} {
		d, err := r.MkdirAll(name + "/d")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = d.Close()
		f, err := r.Target(name+"/f", false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = f.Close()
		if err := r.WriteNew(name+"/w-"+name, []byte("x"), 0o644); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	left, err := os.ReadDir(victim)
	if err != nil || len(left) != 0 {
		t.Errorf("the directory beside the root was touched: %v, %v", left, err)
	}
}

func TestTarget(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	r, dir := tree(t, "d d", "f f x", "l dangling sub/dir", "l danglingfile sub2/file")
	for _, tt := range []struct {
		name string
		dir  bool
		made string
		mode os.FileMode
	}{
		{"/new/dir", true, "new/dir", os.ModeDir | 0o755},
		{"/new2/file", false, "new2/file", 0o700},
		{"/dangling", true, "sub/dir", os.ModeDir | 0o755},
		{"/danglingfile", false, "sub2/file", 0o700},
		{"/f", true, "f", 0o600},
		{"/d", false, "d", os.ModeDir | 0o700},
	} {
		f, err := r.Target(tt.name, tt.dir)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var got, want unix.Stat_t
		if err := errors.Join(unix.Fstat(int(f.Fd()), &got), unix.Lstat(filepath.Join(dir, tt.made), &want)); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		fi, err := os.Lstat(filepath.Join(dir, tt.made))
		if err != nil || got.Ino != want.Ino || fi.Mode().Type() != tt.mode.Type() {
			t.Errorf("%s: %v, %v", tt.name, fi.Mode(), err)
		}
		if strings.Contains(tt.made, "/") && fi.Mode() != tt.mode && fi.IsDir() {
			t.Errorf("%s has mode %v, want %v", tt.made, fi.Mode(), tt.mode)
		}
	}
	if _, err := r.Target("/f/below", true); err == nil {
		t.Error("directory below a file")
	}
}

func TestReadFile(t *testing.T) {
	r, dir := tree(t, "d etc", "f etc/passwd root:x:0:0", "l passwd etc/passwd")
	if data, err := r.ReadFile("/passwd", 100); err != nil || string(data) != "root:x:0:0" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := r.ReadFile("/passwd", 3); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := r.ReadFile("/none", 3); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	if _, err := r.ReadFile("/etc", 3); !errors.Is(err, ErrNotRegular) {
		t.Error(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := r.ReadFile("/fifo", 3); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrNotRegular) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("reading a FIFO blocks")
	}
}

func TestLstat(t *testing.T) {
	r, _ := tree(t, "d x", "l ln x")
	link, err := r.Lstat("/ln")
	if err != nil || link.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("%o, %v", link.Mode, err)
	}
	dir, err := r.Stat("/ln")
	if err != nil || dir.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("%o, %v", dir.Mode, err)
	}
}

// FuzzResolve: the answer is clean, absolute, and resolves to itself.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"/a/x", "../..", "a/./../b", "loop", "esc/../x", "rel/rel", "\x00", "up/up/up"} {
		f.Add(s)
	}
	r, _ := tree(f, "d b/c", "l a /b", "l rel b/c", "l up ../../../b", "l loop loop", "l esc /../../etc")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := r.Resolve(name)
		if err != nil {
			return
		}
		if !strings.HasPrefix(got, "/") || filepath.Clean(got) != got {
			t.Errorf("Resolve(%q) = %q", name, got)
		}
		if again, err := r.Resolve(got); err != nil || again != got {
			t.Errorf("Resolve(%q) = %q, which resolves to %q, %v", name, got, again, err)
		}
	})
}

// TestReadFileOfKernel: a file of size 0 that is not empty is the kernel's; it
// may block, and reading it may have effects.
func TestReadFileOfKernel(t *testing.T) {
	r, err := Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if data, err := r.ReadFile("/version", 1<<10); err != nil || len(data) != 0 {
		t.Errorf("%q, %v", data, err)
	}
}
