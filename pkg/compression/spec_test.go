// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"bytes"
	"io"
	"testing"
)

func TestSpec(t *testing.T) {
	for _, name := range []string{"none", "gzip", "gzip:1", "gzip:9", "zstd", "zstd:1", "zstd:22"} {
		var s Spec
		if err := s.Set(name); err != nil || s.String() != name {
			t.Errorf("%s: %v, %v", name, &s, err)
			continue
		}
		var one, two bytes.Buffer
		for _, b := range []*bytes.Buffer{&one, &two} {
			if err := s.Compress(b, func(w io.Writer) error { _, err := w.Write(text()); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: not the same twice", name)
		}
		if got, kind, err := readAll(one.Bytes()); err != nil || kind != s.Type || !bytes.Equal(got, text()) {
			t.Errorf("%s: %s, %v", name, kind, err)
		}
	}
	for _, bad := range []string{"", "xz", "bzip2", "none:1", "gzip:", "gzip:0", "gzip:10", "gzip:-1", "zstd:23", "zstd:x", "GZIP", "gzip:1:2"} {
		s := Spec{Type: Gzip, Level: 3}
		if err := s.Set(bad); err == nil || s != (Spec{Type: Gzip, Level: 3}) {
			t.Errorf("%q: %v, %v", bad, &s, err)
		}
	}
}

// A higher level makes less of it.
func TestSpecLevel(t *testing.T) {
	size := func(s Spec) int {
		var b bytes.Buffer
		if err := s.Compress(&b, func(w io.Writer) error { _, err := w.Write(text()); return err }); err != nil {
			t.Fatal(err)
		}
		return b.Len()
	}
	for _, kind := range []Type{Gzip, Zstd} {
		if low, high := size(Spec{kind, 1}), size(Spec{kind, 9}); high >= low {
			t.Errorf("%s: %d, %d", kind, low, high)
		}
	}
}
