// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// files lists the journal files of a directory, oldest first, the active last.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var old, active []string
	for _, pattern := range []string{"*.journal", "*.journal~"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if filepath.Base(p) == activeName {
				active = append(active, p)
			} else {
				old = append(old, p)
			}
		}
	}
	slices.Sort(old)
	return append(old, active...)
}

// read reads all files of a directory.
func read(t testing.TB, dir string) []readEntry {
	t.Helper()
	var all []readEntry
	for _, path := range files(t, dir) {
		r, err := readFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.entries...)
	}
	return all
}

func messages(entries []readEntry) []string {
	var out []string
	for _, e := range entries {
		for _, f := range e.fields {
			if m, ok := strings.CutPrefix(f, "MESSAGE="); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

func testOptions() Options { return Options{MachineID: [16]byte{1}, BootID: [16]byte{1}} }

func testWriter(t testing.TB, dir string, o Options) *Writer {
	t.Helper()
	w, err := Create(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func mustClose(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func journalctl(t testing.TB, args ...string) []byte {
	t.Helper()
	program := testenv.NeedsProgram(t, "journalctl")
	var stderr bytes.Buffer
	cmd := exec.Command(program, append([]string{"--no-pager", "--quiet"}, args...)...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("journalctl %q: %v\n%s%s", args, err, stderr.String(), out)
	}
	return out
}

// showJSON returns the fields of every entry as journalctl reads them; the
// values are strings, or lists of those that appear more than once.
func showJSON(t testing.TB, dir string, args ...string) []map[string]any {
	t.Helper()
	var entries []map[string]any
	out := journalctl(t, append([]string{"-D", dir, "-o", "json", "--all"}, args...)...)
	d := json.NewDecoder(bytes.NewReader(out))
	for d.More() {
		var e map[string]any
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		for k, v := range e {
			e[k] = jsonValue(v)
		}
		entries = append(entries, e)
	}
	return entries
}

// jsonValue turns what journalctl shows of bytes that are no text into a string.
func jsonValue(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	var b []byte
	for i, x := range list {
		n, ok := x.(float64)
		if !ok {
			list[i] = jsonValue(x)
			continue
		}
		b = append(b, byte(n))
	}
	if len(b) == len(list) {
		return string(b)
	}
	return list
}

func verify(t testing.TB, dir string) {
	t.Helper()
	journalctl(t, "--verify", "-D", dir)
}

// TestHeader fixes the first bytes: other programs read them.
func TestHeader(t *testing.T) {
	dir := t.TempDir()
	w := testWriter(t, dir, Options{MachineID: [16]byte{0xaa}, BootID: [16]byte{0xbb}})
	m, err := os.ReadFile(filepath.Join(dir, activeName))
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("LPKSHHRH\x00\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"), w.file.id[:]...)
	want = append(want, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	want = append(want, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	want = append(want, w.seqnumID[:]...)
	want = append(want, 0x10, 1, 0, 0, 0, 0, 0, 0) // size of the header
	if diff := cmp.Diff(want, m[:len(want)]); diff != "" {
		t.Error(diff)
	}
	mustClose(t, w)
	mustClose(t, w)
	if m, err = os.ReadFile(filepath.Join(dir, activeName)); err != nil || m[hState] != stateOffline || len(m) != firstTail {
		t.Errorf("%v, state %d, size %d", err, m[hState], len(m))
	}
	if err := w.Write(Entry{Fields: []Field{{Name: "A"}}}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(dir, activeName))
	if err != nil || st.Mode().Perm() != fileMode {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	w := testWriter(t, dir, testOptions())
	at := time.Date(2026, 11, 27, 10, 0, 0, 123456789, time.UTC)
	var want [][]string
	for i := range 300 {
		message := fmt.Sprintf("line %d", i%7)
		e := Entry{Realtime: at.Add(time.Duration(i) * time.Millisecond), Monotonic: uint64(1000 + i), Fields: []Field{
			{"MESSAGE", []byte(message)},
			{"A", []byte("const")},
			{"A", []byte("const")}, // twice the same is once
			{"A", fmt.Append(nil, i%2)},
			{"N", fmt.Append(nil, i)},
		}}
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
		want = append(want, []string{"A=" + fmt.Sprint(i%2), "A=const", "MESSAGE=" + message, "N=" + fmt.Sprint(i)})
	}
	// Readable before Close, too.
	for range 2 {
		got := read(t, dir)
		if len(got) != len(want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		for i, e := range got {
			slices.Sort(e.fields)
			w := readEntry{
				seqnum: uint64(i + 1), realtime: uint64(at.UnixMicro()) + uint64(i)*1000, monotonic: uint64(1000 + i),
				boot: "01" + strings.Repeat("0", 30), fields: want[i],
			}
			if diff := cmp.Diff(w, e, cmp.AllowUnexported(readEntry{})); diff != "" {
				t.Fatal(diff)
			}
		}
		mustClose(t, w)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	w := testWriter(t, dir, testOptions())
	big := bytes.Repeat([]byte("x"), MaxFieldValue)
	for name, e := range map[string]Entry{
		"no fields":   {},
		"lower case":  {Fields: []Field{{Name: "message"}}},
		"empty name":  {Fields: []Field{{Name: ""}}},
		"digit first": {Fields: []Field{{Name: "1A"}}},
		"equals sign": {Fields: []Field{{Name: "A=B"}}},
		"line end":    {Fields: []Field{{Name: "A\n"}}},
		"long name":   {Fields: []Field{{Name: strings.Repeat("A", MaxFieldName+1)}}},
		"big value":   {Fields: []Field{{Name: "A", Value: append([]byte("y"), big...)}}},
		"many fields": {Fields: make([]Field, MaxFields+1)},
		"big entry":   {Fields: []Field{{"A", big}, {"B", big}}},
	} {
		if err := w.Write(e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := w.Write(Entry{Fields: []Field{{Name: "A", Value: big}, {Name: strings.Repeat("_", MaxFieldName)}}}); err != nil {
		t.Error(err)
	}
	if got := read(t, dir); len(got) != 1 || got[0].seqnum != 1 {
		t.Errorf("%d entries", len(got))
	}
	for _, size := range []int64{1, MinFileSize - 1, MaxFileSize + 1, -1} {
		if _, err := Create(dir, Options{MachineID: [16]byte{1}, BootID: [16]byte{1}, MaxFileSize: size}); err == nil {
			t.Errorf("file size %d: no error", size)
		}
	}
	for _, o := range []Options{{}, {MachineID: [16]byte{1}}, {BootID: [16]byte{1}}} {
		if _, err := Create(dir, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if _, err := Create(filepath.Join(dir, "none"), testOptions()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestPodLog(t *testing.T) {
	dir := t.TempDir()
	p := testPod()
	l := testLog(t, dir, p)
	sub := filepath.Join(dir, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	if got := files(t, sub); got != nil {
		t.Errorf("%q before the first line", got)
	}
	before := time.Now()
	for i := range 100 {
		stream := []string{Stdout, Stderr}[i%2]
		app := []string{"web", "db"}[i/2%2]
		if err := l.Line(app, stream, 7+i%4, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Line("web", Stdout, 7, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(time.Now(), Field{"MESSAGE", []byte("note")}, Field{"RKT_APP", []byte("web")}); err != nil {
		t.Fatal(err)
	}
	got := read(t, sub)
	if len(got) != 102 {
		t.Fatalf("%d entries", len(got))
	}
	if e := got[0]; e.realtime < uint64(before.UnixMicro()) || e.realtime > uint64(time.Now().UnixMicro()) {
		t.Errorf("time %d, began at %d", e.realtime, before.UnixMicro())
	}
	slices.Sort(got[3].fields)
	want := []string{
		"MESSAGE=line 3", "PRIORITY=6", "RKT_APP=db", "RKT_POD_UUID=" + p.UUID, "RKT_STREAM=stderr", "SYSLOG_IDENTIFIER=db",
		"_BOOT_ID=b0070000000000000000000000000001", "_HOSTNAME=" + p.Hostname, "_MACHINE_ID=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
		"_PID=10", "_SYSTEMD_UNIT=db.service", "_TRANSPORT=stdout",
	}
	if diff := cmp.Diff(want, got[3].fields); diff != "" {
		t.Error(diff)
	}
	if m := messages(got); m[100] != "" || m[101] != "note" || m[42] != "line 42" {
		t.Errorf("%q", m)
	}
	mustClose(t, l)
	read(t, sub)
	// A second writer does not append to the file of the first.
	l = testLog(t, dir, p)
	if err := l.Line("web", Stdout, 7, time.Now(), []byte("again")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	paths := files(t, sub)
	if len(paths) != 2 || !strings.HasSuffix(paths[0], asideSuffix) {
		t.Errorf("%q", paths)
	}
	if m := messages(read(t, sub)); len(m) != 103 || m[102] != "again" {
		t.Errorf("%q", m)
	}
}

// Many sources do not fill the memory, and their data objects stay right.
func TestManySources(t *testing.T) {
	dir := t.TempDir()
	l := testLog(t, dir, testPod())
	n := 3 * maxKnown
	for i := range n {
		if err := l.Line("web", Stdout, i%(maxKnown+maxSets), time.Now(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.sets) > maxSets || len(l.w.file.known) > maxKnown {
		t.Errorf("%d sets, %d data objects", len(l.sets), len(l.w.file.known))
	}
	mustClose(t, l)
	if got := read(t, filepath.Join(dir, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")); len(got) != n {
		t.Errorf("%d entries, want %d", len(got), n)
	}
}

// The order of entries is that of the format whatever the callers' clocks say.
func TestTimes(t *testing.T) {
	dir := t.TempDir()
	w := testWriter(t, dir, testOptions())
	at := time.Now()
	write := func(d time.Duration) {
		t.Helper()
		if err := w.Write(Entry{Realtime: at.Add(d), Fields: []Field{{"MESSAGE", []byte(d.String())}}}); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	write(-time.Millisecond)
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files after a caller was late", n)
	}
	write(-time.Hour)
	write(-time.Hour + time.Second)
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files after the clock was set back", n)
	}
	w.flushing.Wait()
	got := read(t, dir)
	if len(got) != 4 || got[1].realtime != got[0].realtime || got[3].realtime-got[2].realtime != 1e6 {
		t.Errorf("%+v", got)
	}
	// A time without a monotonic reading, before the machine was started.
	if err := w.Write(Entry{Realtime: time.Unix(1, 0), Fields: []Field{{Name: "A"}}}); err != nil {
		t.Error(err)
	}
	w.flushing.Wait()
	read(t, dir)
}

func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	l := testLog(t, dir, testPod())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				if err := l.Line(fmt.Sprintf("app%d", g%3), Stdout, g, time.Now(), fmt.Appendf(nil, "%d/%d", g, i%50)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := read(t, filepath.Join(dir, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")); len(got) != 1600 {
		t.Errorf("%d entries", len(got))
	}
}
