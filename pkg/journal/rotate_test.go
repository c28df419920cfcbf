// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

const testMachine = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	p := testPod()
	p.MaxFileSize, p.MaxTotalSize = MinFileSize, 4*MinFileSize
	sub := filepath.Join(dir, testMachine)
	l := testLog(t, dir, p)
	const n = 12000
	for i := range n {
		if err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
	paths := files(t, sub)
	total := int64(0)
	for i, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
		r, err := readFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := stateArchived
		if i == len(paths)-1 {
			want = stateOffline
		}
		if st.Size() > MinFileSize || r.m[hState] != want {
			t.Errorf("%s: size %d, state %d", path, st.Size(), r.m[hState])
		}
	}
	if total > p.MaxTotalSize || len(paths) != 4 {
		t.Errorf("%d files with %d bytes", len(paths), total)
	}
	// Of the oldest lines some are gone, of the newest none.
	m := messages(read(t, sub))
	if len(m) < n/4 || len(m) == n {
		t.Errorf("%d lines are left", len(m))
	}
	for i, line := range m {
		if want := fmt.Sprintf("line %d", n-len(m)+i); line != want {
			t.Fatalf("%q, want %q", line, want)
		}
	}
	if slices.Contains(names(t, sub), newName) {
		t.Error("temporary file left")
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Only what has the names of this package is removed, oldest first.
func TestVacuum(t *testing.T) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("x"), 1<<20)
	other := strings.Repeat("0", 32)
	olds := []string{
		"rkt@" + other + "-0000000000000001-0000000000000005.journal",
		"rkt@0000000000000006-0123456789abcdef.journal~",
		"rkt@" + other + "-0000000000000000-0000000000000007.journal",
	}
	foreign := []string{
		"system.journal", "system@" + other + "-0000000000000001-0000000000000001.journal",
		"rkt@x.journal", "rkt@" + other + ".journal", "rkt@zz-00.journal~", "rktx.journal",
	}
	for _, name := range append(foreign, olds...) {
		if err := os.WriteFile(filepath.Join(dir, name), big, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "rkt@0000000000000001-00.journal~"), 0o700); err != nil {
		t.Fatal(err)
	}
	testWriter(t, dir, Options{MachineID: [16]byte{1}, BootID: [16]byte{1}, MaxFileSize: MinFileSize, MaxTotalSize: 2 * MinFileSize})
	want := append(foreign, olds[2], activeName, "rkt@0000000000000001-00.journal~")
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The directory is held by a descriptor: a link that takes its place later,
// or that of a file, leads nowhere.
func TestNoLinks(t *testing.T) {
	top := t.TempDir()
	dir, victim := filepath.Join(top, "dir"), filepath.Join(top, "victim")
	for _, d := range []string{dir, victim} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	precious := filepath.Join(victim, "precious")
	for _, name := range []string{activeName, newName} {
		if err := os.Symlink(precious, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w := testWriter(t, dir, Options{MachineID: [16]byte{1}, BootID: [16]byte{1}, MaxFileSize: MinFileSize})
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, filepath.Join(dir+".moved", newName)); err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("x"), MaxFieldValue)
	for i := range 10 {
		value[0] = byte(i)
		if err := w.Write(Entry{Realtime: time.Now(), Fields: []Field{{"MESSAGE", value}}}); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, w)
	if got := names(t, victim); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if _, err := Create(dir, testOptions()); err == nil {
		t.Error("the directory may be a link")
	}
}

// What the pod's root does to the file costs lines at most.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 100) },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
		"tables": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			_, err = f.WriteAt(bytes.Repeat([]byte{0x55}, firstTail-fieldTable), fieldTable)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := testPod()
			p.MaxFileSize = MinFileSize
			l := testLog(t, dir, p)
			write := func(i int) {
				t.Helper()
				if err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 100 {
				write(i)
			}
			active := filepath.Join(dir, testMachine, activeName)
			if err := damage(active); err != nil {
				t.Fatal(err)
			}
			for i := range 3000 {
				write(i)
			}
			mustClose(t, l)
			r, err := readFile(active)
			if err != nil {
				t.Fatal(err)
			}
			if m := messages(r.entries); m[len(m)-1] != "line 2999" {
				t.Errorf("%q", m[len(m)-1])
			}
		})
	}
}

// What is made belongs to whom the directory does, in the group asked for.
func TestOwner(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, gid := range []int{0, -1, 1234} {
		dir := t.TempDir()
		if err := os.Chown(dir, 1<<20, 1<<20+5); err != nil {
			t.Fatal(err)
		}
		p := testPod()
		p.GID = gid
		l := testLog(t, dir, p)
		if err := l.Line("web", Stdout, 7, time.Now(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		wantGID := uint32(1<<20 + 5)
		if gid > 0 {
			wantGID = uint32(gid)
		}
		for name, want := range map[string]uint32{"": 1<<20 + 5, activeName: wantGID} {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, testMachine, name), &st); err != nil || st.Uid != 1<<20 || st.Gid != want {
				t.Errorf("%q: %v, %d:%d", name, err, st.Uid, st.Gid)
			}
		}
	}
}
