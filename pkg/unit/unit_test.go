// SPDX-License-Identifier: Apache-2.0

package unit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/unit"
)

func TestParse(t *testing.T) {
	entries, problems := unit.Parse("f", "# c\n; c\n\n[A]\nK = v w \nJ=1\\\n# between\n  2\\\n\\\\\nE=\n[B]\n x=\ty\\\\\n")
	want := []unit.Entry{
		{Section: "A", Pos: unit.Pos{File: "f", Line: 4, Column: 1}, ValuePos: unit.Pos{File: "f", Line: 4, Column: 1}},
		{Section: "A", Key: "K", Value: "v w", Pos: unit.Pos{File: "f", Line: 5, Column: 1}, ValuePos: unit.Pos{File: "f", Line: 5, Column: 5}},
		{Section: "A", Key: "J", Value: `1   2 \\`, Pos: unit.Pos{File: "f", Line: 6, Column: 1}, ValuePos: unit.Pos{File: "f", Line: 6, Column: 3}},
		{Section: "A", Key: "E", Pos: unit.Pos{File: "f", Line: 10, Column: 1}, ValuePos: unit.Pos{File: "f", Line: 10, Column: 3}},
		{Section: "B", Pos: unit.Pos{File: "f", Line: 11, Column: 1}, ValuePos: unit.Pos{File: "f", Line: 11, Column: 1}},
		{Section: "B", Key: "x", Value: `y\\`, Pos: unit.Pos{File: "f", Line: 12, Column: 2}, ValuePos: unit.Pos{File: "f", Line: 12, Column: 5}},
	}
	if diff := cmp.Diff(want, entries); diff != "" || len(problems) > 0 {
		t.Errorf("%v (-want +got):\n%s", problems, diff)
	}
}

func TestParseProblems(t *testing.T) {
	for text, want := range map[string]string{
		"k=v\n":                   `f:1:1: k= stands before the first section`,
		"[A]\n what\n":            `f:2:2: "what" is neither a section, nor Key=value, nor a comment`,
		"[A]\n=v\n":               `f:2:1: there is no key before the equals sign`,
		"\n[A\n":                  `f:2:1: "[A" is no section: it has to be [Name]`,
		"[]\n":                    `f:1:1: "[]" is no section: it has to be [Name]`,
		"[A]\nk=\xff\n":           `f: not a text file in UTF-8`,
		"[A]\nk=a\x00\n":          `f: not a text file in UTF-8`,
		"[A]\nk=a\rExecStart=b\n": `f:2:4: there is a control character in the line`,
		"[A]\nbroken \\":          `f:2:1: "broken" is neither a section, nor Key=value, nor a comment`,
	} {
		_, problems := unit.Parse("f", text)
		if len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%q: %v, want %s", text, problems, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for value, want := range map[string][]string{
		``:                        nil,
		`  a	b `:                  {"a", "b"},
		`"a b" 'c "d' e"f g"h`:    {"a b", `c "d`, "ef gh"},
		`a\x20b \t \s "\"" \\ \'`: {"a b", "\t", " ", `"`, `\`, "'"},
		`\303\244 \u00e4 "" ''`:   {"ä", "ä", "", ""},
		`%i $HOME ; #`:            {"%i", "$HOME", ";", "#"},
	} {
		got, err := unit.Split(value)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", value, err, diff)
		}
	}
	for value, want := range map[string]error{`"a`: unit.ErrQuote, `'`: unit.ErrQuote, `\q`: unit.ErrEscape, `\`: unit.ErrEscape, `\x2`: unit.ErrEscape, `\x00`: unit.ErrEscape, `\999`: unit.ErrEscape} {
		if got, err := unit.Split(value); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v, want %v", value, got, err, want)
		}
	}
}

func TestWord(t *testing.T) {
	for s, want := range map[string]string{
		"":       `""`,
		"a=b":    "a=b",
		"a b":    `"a b"`,
		`"\`:     `"\"\\"`,
		"$HOME":  "$$HOME",
		"%i":     "%i",
		"ä\n":    `"\xc3\xa4\x0a"`,
		";":      `";"`,
		"#x":     `"#x"`,
		"[Unit]": `"[Unit]"`,
	} {
		if got := unit.Word(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// FuzzCommand: what systemd reads of a command line is what was written, and
// nothing beside it.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{"a", "a b\x00c", "$HOME\x00${X}", `\`, "end\\", "\n[Service]\nExecStart=/bin/sh", "#\x00;\x00; x", "%n\x00%%", "\xff\x01", `"'`, "\u2028\u0085 ", "---", "\\\n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words := strings.Split(s, "\x00")
		literal := []string{"/usr/bin/rkt"}
		for _, w := range words {
			literal = append(literal, unit.Literal(w))
		}
		text := "[Service]\nExecStart=" + unit.Command(literal) + "\nType=notify\n"
		entries, problems := unit.Parse("x", text)
		if len(problems) > 0 || len(entries) != 3 || entries[1].Key != "ExecStart" || entries[2].Value != "notify" {
			t.Fatalf("%q: %v %v in\n%s", s, problems, entries, text)
		}
		got, err := unit.Split(entries[1].Value)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		for i := range got { // what systemd does with a word
			if strings.Contains(strings.ReplaceAll(got[i], "%%", ""), "%") || strings.Contains(strings.ReplaceAll(got[i], "$$", ""), "$") {
				t.Errorf("%q: %q would be expanded", s, got[i])
			}
			got[i] = strings.ReplaceAll(strings.ReplaceAll(got[i], "%%", "%"), "$$", "$")
		}
		if diff := cmp.Diff(append([]string{"/usr/bin/rkt"}, words...), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"[A]\nk=v\n", "\\\n", "[", "=", "[A]\nk=\\\n#\\\nx", "[A]\r\nk=v\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		entries, problems := unit.Parse("f", s)
		for _, e := range entries {
			if strings.ContainsAny(e.Key+e.Value+e.Section, "\n\x00") || e.Pos.Line < 1 || e.Pos.Column < 1 || e.ValuePos.Column < 1 {
				t.Errorf("%q: %+v", s, e)
			}
			_, _ = unit.Split(e.Value)
		}
		for _, p := range problems {
			_ = p.String()
		}
	})
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	pipe, null, long := dir+"/pipe", dir+"/null", dir+"/long"
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.Symlink("/dev/null", null), os.WriteFile(long, make([]byte, unit.MaxFile+1), 0o600)); err != nil {
		t.Fatal(err)
	}
	if s, err := unit.Read(null); s != "" || err != nil {
		t.Errorf("a link to /dev/null: %q, %v", s, err)
	}
	for path, want := range map[string]error{pipe: unit.ErrNotFile, dir: unit.ErrNotFile, "/dev/zero": unit.ErrNotFile, long: unit.ErrTooLong, filepath.Join(dir, "none"): os.ErrNotExist} {
		if _, err := unit.Read(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	all := []string{"Memory", "Mount", "Port", "Environment"}
	for word, want := range map[string]string{"Memroy": "Memory", "memory": "Memory", "Envronment": "Environment", "Prot": "Port", "Xyzzy": "", "": "", strings.Repeat("M", 1000): ""} {
		if got := unit.Nearest(word, all); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
