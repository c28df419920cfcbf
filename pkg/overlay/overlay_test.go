// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

func TestOptions(t *testing.T) {
	tests := []struct {
		name string
		m    Mount
		want string
	}{
		{"one lower", Mount{Lowers: []string{"/a"}, Upper: "/u", Work: "/w"}, "lowerdir=/a,upperdir=/u,workdir=/w"},
		{"chain", Mount{Lowers: []string{"/a", "/b"}, Upper: "/u", Work: "/w"}, "lowerdir=/a:/b,upperdir=/u,workdir=/w"},
		{"read-only", Mount{Lowers: []string{"/a", "/b"}}, "lowerdir=/a:/b"},
		{
			"escapes",
			Mount{Lowers: []string{`/a:b,c\d`, "/e"}, Upper: "/u:,", Work: `/w\`},
			`lowerdir=/a\:b\,c\\d:/e,upperdir=/u\:\,,workdir=/w\\`,
		},
		{
			"label",
			Mount{Lowers: []string{"/a"}, Upper: "/u", Work: "/w", Context: "system_u:object_r:x:s0:c1,c2"},
			`lowerdir=/a,upperdir=/u,workdir=/w,context="system_u:object_r:x:s0:c1,c2"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.options(); got != tt.want {
				t.Errorf("options() = %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("/a:b,c", `/d\`)
	f.Fuzz(func(t *testing.T, a, b string) {
		got := unescapeList(escape(a) + ":" + escape(b))
		if len(got) != 2 || got[0] != a || got[1] != b {
			t.Errorf("%q, %q come back as %q", a, b, got)
		}
	})
}

// unescapeList splits as ovl_split_lowerdirs and ovl_unescape of the kernel do.
func unescapeList(s string) []string {
	list := []string{""}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			list[len(list)-1] += s[i : i+1]
		case s[i] == ':':
			list = append(list, "")
		default:
			list[len(list)-1] += s[i : i+1]
		}
	}
	return list
}

func TestCheckCounts(t *testing.T) {
	if err := (Mount{Target: "/t"}).Do(); err == nil {
		t.Error("no lower directory: want an error")
	}
	if err := (Mount{Target: "/t", Lowers: []string{"/a"}}).Do(); err == nil {
		t.Error("one lower directory without upper: want an error")
	}
	err := Mount{Target: "/t", Upper: "/u", Work: "/w", Lowers: make([]string, MaxLowers+1)}.Do()
	if err == nil || !strings.Contains(err.Error(), "--no-overlay") {
		t.Errorf("too many lower directories: %v, want a way out", err)
	}
}

func TestAllTyped(t *testing.T) {
	entry := func(typ byte) []byte {
		b := make([]byte, 24)
		b[direntReclen] = 24
		b[direntType] = typ
		return b
	}
	if !allTyped(append(entry(unix.DT_DIR), entry(unix.DT_REG)...)) {
		t.Error("typed entries: want true")
	}
	if allTyped(append(entry(unix.DT_DIR), entry(unix.DT_UNKNOWN)...)) {
		t.Error("an entry without type: want false")
	}
}

func TestHasLine(t *testing.T) {
	const sample = "nodev\tsysfs\n\text4\nnodev\toverlay\nnodev\tfuse\n"
	if !hasLine([]byte(sample), "nodev\toverlay") {
		t.Error("overlay is listed")
	}
	if hasLine([]byte("nodev\toverlayx\n"), "nodev\toverlay") {
		t.Error("a longer name is not overlay")
	}
}

func TestSupported(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	dir := t.TempDir()
	if err := Supported(dir); err != nil {
		t.Fatalf("Supported(%s) = %v", dir, err)
	}
	var unsupported *UnsupportedError
	if err := Supported(filepath.Join(dir, "missing")); err == nil || errors.As(err, &unsupported) {
		t.Errorf("missing directory: %v, want an error that is not *UnsupportedError", err)
	}
}

// inNamespace runs fn on a thread with a mount namespace of its own, which
// ends with it.
func inNamespace(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error)
	go offMainThread(func() {
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = fn()
		}
		done <- err
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// offMainThread runs fn on a thread that ends with it. The main thread never
// ends: it would keep the namespace, and others would come to run there.
func offMainThread(fn func()) {
	runtime.LockOSThread() // never unlocked
	if unix.Gettid() != unix.Getpid() {
		fn()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		offMainThread(fn)
	}()
	<-done
	runtime.UnlockOSThread()
}

func TestMountManyLowers(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	for _, n := range []int{1, 2, 20, 120, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { mountLowers(t, n) })
	}
}

func mountLowers(t *testing.T, n int) {
	// A long directory name with everything that needs escaping.
	dir := filepath.Join(t.TempDir(), `od:d,na\me`+strings.Repeat("x", 60))
	m := Mount{Upper: dir + "/upper", Work: dir + "/work", Target: dir + "/target"}
	for _, d := range []string{m.Upper, m.Work, m.Target} {
		mkdir(t, d)
	}
	for i := range n {
		l := fmt.Sprintf("%s/lower%d", dir, i)
		mkdir(t, l)
		if err := os.WriteFile(fmt.Sprintf("%s/file%d", l, i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l+"/top", []byte(fmt.Sprint(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		m.Lowers = append(m.Lowers, l)
	}
	inNamespace(t, func() error {
		before, err := unix.Getwd()
		if err != nil {
			return err
		}
		if err := m.Do(); err != nil {
			return err
		}
		if after, _ := unix.Getwd(); after != before {
			return fmt.Errorf("working directory changed")
		}
		top, err := os.ReadFile(m.Target + "/top")
		if err != nil {
			return err
		}
		if string(top) != "0" {
			return fmt.Errorf("top = %q; want the first lower directory's", top)
		}
		if _, err := os.Stat(fmt.Sprintf("%s/file%d", m.Target, n-1)); err != nil {
			return err
		}
		return os.WriteFile(m.Target+"/new", nil, 0o644)
	})
	if _, err := os.Stat(m.Upper + "/new"); err != nil {
		t.Errorf("the written file is not in the upper directory: %v", err)
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}
