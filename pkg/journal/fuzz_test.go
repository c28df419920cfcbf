// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// FuzzWrite: what is written is what a reader finds, whatever the bytes. The
// input is cut into values at 0x1e; a value's first byte chooses the name,
// 0x1d ends an entry.
func FuzzWrite(f *testing.F) {
	f.Add([]byte("Mhello\x1eAx\x1dMhello\x1eAx\x1dMother"))
	f.Add([]byte("\x1d\x1d\x1e\x1e"))
	f.Add([]byte("M\x00\xff\n=\x1dM=\x1eM\x1eM="))
	f.Add(bytes.Repeat([]byte("Ma\x1eBb\x1d"), 50))
	f.Fuzz(func(t *testing.T, input []byte) {
		dir := t.TempDir()
		o := testOptions()
		o.NoSync = true
		w := testWriter(t, dir, o)
		var want [][]string
		for part := range bytes.SplitSeq(input, []byte{0x1d}) {
			e := Entry{Realtime: time.Now()}
			var fields []string
			for value := range bytes.SplitSeq(part, []byte{0x1e}) {
				name := "MESSAGE"
				if len(value) > 0 && value[0] != 'M' {
					name = "F_" + string('A'+value[0]%26) + fmt.Sprint(value[0]%3)
				}
				e.Fields = append(e.Fields, Field{name, value})
				fields = append(fields, name+"="+string(value))
			}
			switch err := w.Write(e); {
			case errors.Is(err, ErrTooLarge) && len(e.Fields) > MaxFields:
				continue
			case err != nil:
				t.Fatal(err)
			}
			slices.Sort(fields)
			want = append(want, slices.Compact(fields))
		}
		mustClose(t, w)
		got := read(t, dir)
		if len(got) != len(want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		for i, e := range got {
			slices.Sort(e.fields)
			if !slices.Equal(e.fields, want[i]) {
				t.Fatalf("entry %d: %q, want %q", i, e.fields, want[i])
			}
		}
	})
}

// FuzzDamage: whatever others write into the file, the writer neither crashes
// nor hangs, and the lines that follow can be read if it starts a new file.
func FuzzDamage(f *testing.F) {
	f.Add(uint32(hArenaSize), []byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint32(dataTable), bytes.Repeat([]byte{8}, 100))
	f.Add(uint32(firstTail), bytes.Repeat([]byte{1, 0, 0, 0}, 1000))
	f.Add(uint32(firstTail+dNextHash), []byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, at uint32, garbage []byte) {
		dir := t.TempDir()
		o := testOptions()
		o.NoSync = true
		w := testWriter(t, dir, o)
		write := func(i int) {
			t.Helper()
			e := Entry{Realtime: time.Now(), Fields: []Field{{"MESSAGE", fmt.Append(nil, i%9)}, {"A", []byte("b")}, {"N", fmt.Append(nil, i)}}}
			if err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			write(i)
		}
		file, err := os.OpenFile(filepath.Join(dir, activeName), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(garbage, int64(at%uint32(w.file.size))); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		for i := range 40 {
			write(i)
		}
		damaged := len(files(t, dir)) > 1
		mustClose(t, w)
		if damaged {
			if _, err := readFile(filepath.Join(dir, activeName)); err != nil {
				t.Error(err)
			}
		}
	})
}
