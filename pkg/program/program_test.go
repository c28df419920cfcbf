// SPDX-License-Identifier: Apache-2.0

package program

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/inroot"
)

func newRoot(t testing.TB) (*inroot.Root, string) {
	t.Helper()
	dir := t.TempDir()
	r, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, dir
}

// elf64 is a file with one program header that names an interpreter.
func elf64(interpreter string) string {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	b[32], b[54], b[56] = 64, 56, 1
	b[64] = ptInterp
	b[64+8] = byte(len(b))
	b[64+32] = byte(len(interpreter) + 1)
	return string(b) + interpreter + "\x00"
}

func TestDiagnose(t *testing.T) {
	r, dir := newRoot(t)
	write := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	static := elf64("")
	static = static[:56] + "\x00\x00" + static[58:] // no program headers
	write("static", static, 0o755)
	write("dynamic", elf64("/lib64/ld.so"), 0o755)
	write("works", elf64("/static"), 0o755)
	write("nointerp", elf64(""), 0o755)
	write("script", "#! /static -x\necho", 0o755)
	write("gone", "#!/bin/gone\n", 0o755)
	write("relative", "#!sh\n", 0o755)
	write("blank", "#! \n", 0o755)
	write("long", "#!"+strings.Repeat("a", 300), 0o755)
	write("self", "#!/self\n", 0o755)
	write("text", "echo hello\n", 0o755)
	write("empty", "", 0o755)
	write("plain", "x", 0o644)
	write("short", "\x7fELF", 0o755)
	write("version", "\x7fELF\x02\x01\x07"+strings.Repeat("\x00", 64), 0o755)
	write("class", "\x7fELF\x09\x01\x01"+strings.Repeat("\x00", 64), 0o755)
	write("with blank", "#!/a b\n", 0o755)
	if err := os.Symlink("/plain", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/static":     "",
		"/works":      "",
		"/script":     "",
		"/missing":    `Error: Unable to open "/missing": No such file or directory`,
		"/dynamic":    `Error: Unable to open "/lib64/ld.so": No such file or directory`,
		"/gone":       `Error: Unable to open "/bin/gone": No such file or directory`,
		"/with blank": `Error: Unable to open "/a": No such file or directory`,
		"/no blank x": `Error: Unable to open "/no blank x": No such file or directory`,
		"/static/x":   `Error: Unable to open "/static/x": Not a directory`,
		"/relative":   `Error: Path must be absolute: "sh"`,
		"/blank":      `Error: Unable to determine interpreter for "/blank"`,
		"/nointerp":   `Error: Unable to determine interpreter for "/nointerp"`,
		"/long":       "Error: Shebang line too long",
		"/self":       "Error: Excessive interpreter recursion, giving up",
		"/text":       "Error: Unsupported file type",
		"/empty":      "Error: Unsupported file type",
		"/":           `Error: "/" is not a regular file`,
		"/plain":      `Error: "/plain" is not executable`,
		"/link":       `Error: "/link" is not executable`,
		"/short":      "Error: Unsupported ELF format",
		"/class":      "Error: Unsupported ELF format",
		"/version":    "Error: Unsupported ELF version",
		"x":           `Error: Path must be absolute: "x"`,
	} {
		if got := Diagnose(r, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestDepth(t *testing.T) {
	r, dir := newRoot(t)
	for i := range 12 {
		text := "#!/s" + strconv.Itoa(i+1) + "\n"
		if err := os.WriteFile(filepath.Join(dir, "s"+strconv.Itoa(i)), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got := Diagnose(r, "/s0"); got != "Error: Excessive interpreter recursion, giving up" {
		t.Error(got)
	}
	if got := Diagnose(r, "/s4"); got != `Error: Unable to open "/s12": No such file or directory` {
		t.Error(got)
	}
}

// FuzzDiagnose: whatever the image holds, there is an answer of the known form.
func FuzzDiagnose(f *testing.F) {
	f.Add([]byte(elf64("/lib64/ld.so")))
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("\x7fELF\x01\x02\x01"))
	r, dir := newRoot(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, "p"), content, 0o755); err != nil {
			t.Fatal(err)
		}
		if got := Diagnose(r, "/p"); got != "" && !strings.HasPrefix(got, "Error: ") {
			t.Errorf("%q", got)
		}
	})
}
