// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseScript(t *testing.T) {
	for in, want := range map[string][][]string{
		"":                                nil,
		"# all comment\n\n  \t\n":         nil,
		"BEGIN ./x # y":                   {{"begin", "./x"}},
		`label add a 'b "c"'"d 'e'"f`:     {{"label", "add", "a", `b "c"d 'e'f`}},
		`label add a b\ c \# '\''`:        {{"label", "add", "a", "b c", "#", "'"}},
		"label add a ''":                  {{"label", "add", "a"}},
		"copy \\\n a \\\nb\nend":          {{"copy", "a", "b"}, {"end"}},
		"run --engine=chroot ls -l":       {{"run", "--engine=chroot", "--", "ls", "-l"}},
		"run --engine chroot ls -l":       {{"run", "--engine", "chroot", "--", "ls", "-l"}},
		"set-exec -- a -b":                {{"set-exec", "--", "a", "-b"}},
		"set-exec a -- b":                 {{"set-exec", "a", "--", "b"}},
		"port add www tcp 80 --count=2 #": {{"port", "add", "www", "tcp", "80", "--count=2"}},
		`set-name a\\`:                    {{"set-name", `a\`}},
	} {
		if got, err := parseScript(in); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]error{"a '": errSingle, `a "`: errDouble, `a \`: errEscape, "a \\\n": errEscape} {
		if _, err := parseScript(in); !errors.Is(err, want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// What is quoted is one word again.
func FuzzSplitLine(f *testing.F) {
	f.Add("a 'b' \\ #\"")
	f.Fuzz(func(t *testing.T, word string) {
		if word == "" || strings.ContainsAny(word, "\n") {
			return
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
		got, err := splitLine(quoted)
		if want := strings.ToValidUTF8(word, ""); err != nil || len(got) != 1 || want == word && got[0] != word {
			t.Errorf("%q: %q, %v", quoted, got, err)
		}
		_, _ = splitLine(word)
	})
}
