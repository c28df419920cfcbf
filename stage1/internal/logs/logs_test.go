// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/journal"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

const uuid poddir.UUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

// podDir changes to a new pod directory and returns its log.
func podDir(t *testing.T) *journal.PodLog {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if err := os.MkdirAll(filepath.Join(dir, poddir.Stage1Rootfs, poddir.JournalDir), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("TZ", "UTC")
	l, err := journal.OpenPod(filepath.Join(poddir.Stage1Rootfs, poddir.JournalDir), journal.Pod{
		UUID: uuid.String(), MachineID: [16]byte{0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x60, 0x71, 0x82, 0x93, 0xa4, 0xb5, 0xc6, 0xd7, 0xe8, 0xf9},
		BootID: [16]byte{1}, Hostname: "host", NoSync: true, MaxFileSize: journal.MinFileSize,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func line(t *testing.T, l *journal.PodLog, app, text string) {
	t.Helper()
	if err := l.Line(app, journal.Stdout, 7, time.Now(), []byte(text)); err != nil {
		t.Error(err)
	}
}

func call() entrypoint.Logs {
	return entrypoint.Logs{
		Path: "/logs", Journal: filepath.Join(poddir.Stage1Rootfs, poddir.JournalDir, uuid.MachineID()),
		Lines: entrypoint.AllLines, Output: "cat",
	}
}

// output runs do with a viewer on a thread of its own: it can never get back
// privileges.
func output(t *testing.T, c entrypoint.Logs, do func(*viewer) error) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		defer func() { _ = w.Close() }()
		v, err := newViewer(c, w)
		if err == nil {
			defer v.close()
			err = do(v)
		}
		done <- err
	}()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), <-done
}

func show(t *testing.T, c entrypoint.Logs) string {
	t.Helper()
	out, err := output(t, c, func(v *viewer) error {
		_, err := v.show("")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestShow(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	l := podDir(t)
	c := call()
	if got := show(t, c); got != "" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("long ", 48<<10/5)
	for _, s := range []string{"one", "two\x1b[1m", "", "\xff\x00", long} {
		line(t, l, "web", s)
		line(t, l, "db", "db "+s)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.App = "web"
	if diff := cmp.Diff("one\ntwo\x1b[1m\n\n\xff\x00\n"+long+"\n", show(t, c)); diff != "" {
		t.Error(diff)
	}
	c.App, c.Lines = "", 3
	if diff := cmp.Diff("db \xff\x00\n"+long+"\ndb "+long+"\n", show(t, c)); diff != "" {
		t.Error(diff)
	}
	c.Lines = 0
	if got := show(t, c); got != "" {
		t.Errorf("%q", got)
	}
	c.Lines, c.Output = 9, entrypoint.DefaultLogOutput
	first, _, _ := strings.Cut(show(t, c), "\n")
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:?00 db\[7\]: db one$`)
	if !want.MatchString(first) {
		t.Errorf("%q", first)
	}
	c.Lines, c.Output = 2, "json"
	if got := show(t, c); !strings.Contains(got, `"RKT_APP":"web"`) || !strings.Contains(got, `"MESSAGE":"db `+long+`"`) {
		t.Errorf("%.300q", got)
	}
	c.Lines, c.Output, c.Since = entrypoint.AllLines, "cat", time.Now().Add(time.Hour)
	if got := show(t, c); got != "" {
		t.Errorf("%q", got)
	}
	c.Since = time.Now().Add(-time.Hour)
	if got := show(t, c); strings.Count(got, "\n") != 10 {
		t.Errorf("%q", got)
	}
	c.App = "other"
	if got := show(t, c); got != "" {
		t.Errorf("%q", got)
	}
}

// Every form of output that can be asked for is one that journalctl knows.
func TestOutputs(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	l := podDir(t)
	line(t, l, "web", "hello")
	for _, form := range entrypoint.LogOutputs() {
		c := call()
		c.Output = form
		if got := show(t, c); !strings.Contains(got, "hello") {
			t.Errorf("%s: %q", form, got)
		}
	}
}

// The pod's root cannot lead the reader away from the pod directory.
func TestLink(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	l := podDir(t)
	line(t, l, "web", "hello")
	c := call()
	if err := os.Rename(c.Journal, "elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../../../../elsewhere", c.Journal); err != nil {
		t.Fatal(err)
	}
	if out, err := output(t, c, func(v *viewer) error { _, err := v.show(""); return err }); err == nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
}

// follow runs until the lock is free.
func TestFollow(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	for _, tc := range []struct {
		name  string
		lines int
		first int // of the lines that are shown
	}{
		{"all", entrypoint.AllLines, 0}, {"some", 10, 90}, {"none", 0, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := podDir(t)
			pod, err := lock.TryTake(".", lock.Exclusive)
			if err != nil {
				t.Fatal(err)
			}
			const n = 5000 // over three files
			for i := range 100 {
				line(t, l, "web", fmt.Sprint(i))
			}
			c := call()
			c.Follow, c.Lines, c.App = true, tc.lines, "web"
			started := make(chan struct{})
			go func() {
				<-started
				time.Sleep(3 * pollInterval / 2)
				for i := 100; i < n; i++ {
					line(t, l, "web", fmt.Sprint(i))
					line(t, l, "db", "-- cursor: s=0")
					if i == 300 {
						time.Sleep(2 * pollInterval)
						// What gc does to a pod that has ended, while others look.
						if err := os.Rename("../pod", "../moved"); err != nil {
							t.Error(err)
						}
					}
				}
				line(t, l, "web", "-- cursor: s=1")
				_ = l.Close()
				_ = pod.Close()
			}()
			out, err := output(t, c, func(v *viewer) error {
				close(started)
				return v.follow()
			})
			if err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for i := tc.first; i < n; i++ {
				fmt.Fprintln(&want, i)
			}
			want.WriteString("-- cursor: s=1\n")
			if diff := cmp.Diff(want.String(), out); diff != "" {
				t.Errorf("%.2000s", diff)
			}
		})
	}
}

// A pod that writes nothing, and one that has ended before.
func TestFollowNothing(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	l := podDir(t)
	c := call()
	c.Follow = true
	if out, err := output(t, c, (*viewer).follow); err != nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	line(t, l, "web", "hello")
	if out, err := output(t, c, (*viewer).follow); err != nil || out != "hello\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// imageRoot is a stage1 tree with the host's journalctl, its libraries and
// dynamic linker, where the coreos flavor has them.
func imageRoot(t *testing.T) string {
	t.Helper()
	program := testenv.NeedsProgram(t, "journalctl")
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // as the tree store is
		t.Fatal(err)
	}
	put := func(from, to string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(program, journalctlPath)
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Skipf("libraries of journalctl: %v", err)
	}
	linker := ""
	for l := range strings.Lines(string(out)) {
		words := strings.Fields(l)
		switch {
		case len(words) > 2 && words[1] == "=>":
			put(words[2], filepath.Join("usr/lib", words[0]))
		case strings.Contains(words[0], "/ld-"):
			linker = words[0]
		}
	}
	put(linker, "usr/lib64/ld.so")
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/rkt"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Absolute, so that only a lookup inside the image finds it.
	if err := os.Symlink("/usr/lib64/ld.so", filepath.Join(root, linkerPath)); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestImageTool(t *testing.T) {
	root := imageRoot(t)
	l := podDir(t)
	line(t, l, "web", "hello")
	c := call()
	c.Root = root
	t.Setenv("PATH", "/nonexistent")
	if got := show(t, c); got != "hello\n" {
		t.Errorf("%q", got)
	}
	// Without journalctl in the image that of the host is used.
	if err := os.Remove(filepath.Join(root, journalctlPath)); err != nil {
		t.Fatal(err)
	}
	if _, err := findTool(root); err == nil || !strings.Contains(err.Error(), "host's journalctl") {
		t.Error(err)
	}
}

// journalctl parses what the pod wrote: as root it has another user, one
// capability and no way to more.
func TestUnprivileged(t *testing.T) {
	testenv.NeedsRoot(t)
	l := podDir(t)
	line(t, l, "web", "hello")
	root := t.TempDir()
	script := filepath.Join(root, "journalctl")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ngrep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status; env | sort; ls /proc/self/fd\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", root+":"+os.Getenv("PATH"))
	t.Setenv("LD_PRELOAD", "")
	got := show(t, call())
	for _, want := range []string{
		"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "Groups:\t \n", "NoNewPrivs:\t1\n",
		"CapPrm:\t0000000000000004\n", "CapEff:\t0000000000000004\n", "CapAmb:\t0000000000000004\n", "TZ=UTC\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "LD_PRELOAD") {
		t.Error(got)
	}
}

func TestMainRefuses(t *testing.T) {
	for _, argv := range [][]string{nil, {"/logs"}, {"/logs", "--journal=/abs"}, {"/logs", "--journal=j", "--root=/nonexistent"}} {
		if err := Main(argv); err == nil {
			t.Errorf("%q: no error", argv)
		}
	}
}

// FuzzCursorFilter: whatever the pieces the output comes in, all of it is
// passed on but the last line, if that is a cursor.
func FuzzCursorFilter(f *testing.F) {
	f.Add([]byte("a\nb\n"), []byte("s=1;i=2"), []byte{1, 2, 3})
	f.Add([]byte("-- cursor: s=1\n-- cur\n--\n"), []byte("s="), []byte{200})
	f.Add([]byte("x-- cursor: s=1\n"), []byte("s=1"), []byte{1})
	f.Fuzz(func(t *testing.T, text, cursor, sizes []byte) {
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n') // journalctl ends every line
		}
		cursor = append([]byte("s="), bytes.ReplaceAll(cursor, []byte("\n"), nil)...)
		for _, end := range []string{"", cursorMark + string(cursor) + "\n"} {
			input := append(bytes.Clone(text), end...)
			var out bytes.Buffer
			filter := &cursorFilter{out: &out, lineStart: true}
			rest := input
			for i := 0; len(rest) > 0; i++ {
				n := len(rest)
				if len(sizes) > 0 {
					n = min(n, int(sizes[i%len(sizes)])+1)
				}
				if w, err := filter.Write(rest[:n]); w != n || err != nil {
					t.Fatal(w, err)
				}
				rest = rest[n:]
			}
			got, err := filter.cursor()
			if err != nil {
				t.Fatal(err)
			}
			if end != "" && (got != string(cursor) || !bytes.Equal(out.Bytes(), text)) {
				t.Errorf("%q, %q", got, out.Bytes())
			}
			if end == "" && got == "" && !bytes.Equal(out.Bytes(), text) {
				t.Errorf("%q, want %q", out.Bytes(), text)
			}
		}
	})
}
