// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOutputText(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"\n\n":                        "",
		"one\n":                       "one",
		"one\r\n\n  two\t\n":          "one; two",
		"\x1b[31mred\x07 \xff\u0085x": "[31mred  ? x",
	} {
		var o output
		for _, b := range []byte(in) { // in pieces
			_, _ = o.Write([]byte{b})
		}
		if got := o.text(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	var o output
	for range 1000 {
		_, _ = o.Write([]byte(strings.Repeat("x", 100) + "\n"))
	}
	_, _ = o.Write([]byte("the end"))
	if got := o.text(); len(o.buf) != maxOutput || !strings.HasSuffix(got, "x; the end") {
		t.Errorf("%d bytes kept, end in %q", len(o.buf), got[len(got)-20:])
	}
}

func TestCallable(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/init", "")
	for name, target := range map[string]string{"inside": "init", "absolute": "/init", "up": "../../../../../../../../init"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"init": "init", "inside": "inside", "absolute": "init", "up": "init"} {
		prog, err := findProgram([]string{dir}, "/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if got := prog.callable(); got != filepath.Join(dir, want) {
			t.Errorf("%s is called as %s", name, got)
		}
	}
}
