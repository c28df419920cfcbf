// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func dirOf(t testing.TB, dir string) *os.File {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func readLines(t testing.TB, r *Reader) (all []string) {
	t.Helper()
	if err := r.Next(func(l Line) error { all = append(all, l.App+":"+string(l.Message)); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t testing.TB, w *Writer, app, message string) {
	t.Helper()
	err := w.Write(Entry{Realtime: time.Now(), Fields: []Field{{"SYSLOG_IDENTIFIER", []byte(app)}, {"MESSAGE", []byte(message)}, {"X", []byte("y")}}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReaderFollows: every entry once and in order, through rotation, and what
// is written while it reads.
func TestReaderFollows(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.MaxFileSize, o.NoSync = MinFileSize, true
	o.MaxTotalSize = 1 << 30
	w := testWriter(t, dir, o)
	r := NewReader(dirOf(t, dir))
	if got := readLines(t, r); len(got) != 0 {
		t.Errorf("empty: %q", got)
	}
	var want, got []string
	for i := range 300 {
		text := fmt.Sprint(i, " ", strings.Repeat("x", i*50))
		write(t, w, "a", text)
		want = append(want, "a:"+text)
		if i%7 == 0 {
			got = append(got, readLines(t, r)...)
		}
	}
	big := strings.Repeat("z", MaxFieldValue)
	write(t, w, "b", big)
	mustClose(t, w)
	got = append(got, readLines(t, r)...)
	if want = append(want, "b:"+big); !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
	if files, _ := os.ReadDir(dir); len(files) < 3 {
		t.Errorf("only %d files", len(files))
	}
	if got := readLines(t, r); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
	if got := readLines(t, NewReader(dirOf(t, dir))); !slices.Equal(got, want) {
		t.Errorf("from the beginning: %d lines, want %d", len(got), len(want))
	}
	stop := errors.New("stop")
	if err := NewReader(dirOf(t, dir)).Next(func(Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of the callback: %v", err)
	}
}

// aJournal is a small journal file.
func aJournal(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	o := testOptions()
	o.NoSync = true
	w, err := Create(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		write(t, w, "a", fmt.Sprint("line ", i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestReaderOfHostileFiles: what the pod's root can put where its journal is.
func TestReaderOfHostileFiles(t *testing.T) {
	good := aJournal(t)
	array := binary.LittleEndian.Uint64(good[hEntryArray:])
	first := binary.LittleEndian.Uint64(good[array+aItems:])
	put := func(at, value uint64) []byte {
		data := bytes.Clone(good)
		binary.LittleEndian.PutUint64(data[at:], value)
		return data
	}
	for name, data := range map[string][]byte{
		"empty": {}, "header": good[:headerSize], "nothing": make([]byte, 1<<20),
		"array loops": put(array+aNext, array), "array before": put(array+aNext, 8), "array far": put(hEntryArray, 1<<63),
		"array odd": put(hEntryArray, array+1), "array of none": put(array+oSize, 0), "array huge": put(array+oSize, 1<<64-1),
		"entry is array": put(array+aItems, array), "entry beyond": put(array+aItems, 1<<64-8), "entry huge": put(first+oSize, 1<<64-8),
		"entry of all": put(first+oSize, uint64(len(good))-first), "data far": put(first+eItems, 1<<64-8), "data is entry": put(first+eItems, first),
		"time": put(first+eRealtime, 1<<64-1), "last number": put(first+eSeqnum, 1<<64-1), "compressed": put(hIncompatible&^7, 1<<32|1<<33),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.journal"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readLines(t, NewReader(dirOf(t, dir))); len(got) > 20 {
			t.Errorf("%s: %d lines", name, len(got))
		}
	}
}

func TestReaderOfOtherFiles(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(good, aJournal(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(good, filepath.Join(dir, "link.journal")), os.Mkdir(filepath.Join(dir, "dir.journal"), 0o700),
		unix.Mkfifo(filepath.Join(dir, "fifo.journal"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := readLines(t, NewReader(dirOf(t, dir))); len(got) != 0 {
		t.Errorf("links are followed: %q", got)
	}
}

// TestReaderNeedsLittleMemory: sparse files of the largest size, many of them.
func TestReaderNeedsLittleMemory(t *testing.T) {
	dir := t.TempDir()
	good := aJournal(t)
	for i := range 20 {
		path := filepath.Join(dir, fmt.Sprint(i, ".journal"))
		if err := errors.Join(os.WriteFile(path, good, 0o600), os.Truncate(path, MaxFileSize)); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := readLines(t, NewReader(dirOf(t, dir)))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 || len(got) != 20 {
		t.Errorf("%d bytes for %d lines", n, len(got))
	}
}

// FuzzReader: a file that the pod has written, and changed as it was read.
func FuzzReader(f *testing.F) {
	good := aJournal(f)
	good = bytes.TrimRight(good, "\x00") // small is fast
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(signature))
	dir := f.TempDir()
	path := filepath.Join(dir, "x.journal")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := NewReader(dirOf(t, dir))
		n := 0
		for range 2 {
			if err := r.Next(func(l Line) error {
				if n++; n > len(data)/8 || len(l.Message) > MaxFieldValue || len(l.App) > 255 {
					t.Fatalf("%d lines of %d bytes, the last of %d", n, len(data), len(l.Message))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(len(data)/2)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
