// SPDX-License-Identifier: Apache-2.0

package argv

import (
	"flag"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args, want []string
		dash       int
		b          bool
		s          string
	}{
		{nil, nil, -1, false, ""},
		{[]string{"a", "-b", "c", "--s=x"}, []string{"a", "c"}, -1, true, "x"},
		{[]string{"-s", "x", "a"}, []string{"a"}, -1, false, "x"},
		{[]string{"a", "--", "-b", "--"}, []string{"a", "-b", "--"}, 1, false, ""},
		{[]string{"--", "a"}, []string{"a"}, 0, false, ""},
		{[]string{"-s", "--", "a", "-b"}, []string{"a"}, -1, true, "--"},
		{[]string{"-b", "--", "-s"}, []string{"-s"}, 0, true, ""},
		{[]string{"-s", "-b", "-"}, []string{"-"}, -1, false, "-b"},
	} {
		fs := NewFlagSet("x")
		b, s := fs.Bool("b", false, ""), fs.String("s", "", "")
		got, dash, err := Parse(fs, tt.args)
		if err != nil || !slices.Equal(got, tt.want) || dash != tt.dash || *b != tt.b || *s != tt.s {
			t.Errorf("%q: %q, %d, %v, %q, %v", tt.args, got, dash, *b, *s, err)
		}
	}
	for want, args := range map[string][]string{
		"flag provided but not defined: -x":                 {"a", "-x"},
		"flag needs an argument: -s":                        {"-s"},
		`invalid boolean value "maybe" for -b: parse error`: {"-b=maybe"},
	} {
		fs := NewFlagSet("x")
		fs.Bool("b", false, "")
		fs.String("s", "", "")
		if _, _, err := Parse(fs, args); err == nil || err.Error() != want {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestUsage(t *testing.T) {
	fs := NewFlagSet("x")
	fs.Bool("bool", false, "what it does")
	fs.Bool("h", false, "")
	fs.Bool("old", false, "")
	fs.String("string", "", "where the `FILE` is")
	if got := Usage([]*flag.FlagSet{fs}, "old"); got != "\t--bool\twhat it does\n\t--string=FILE\twhere the FILE is\n" {
		t.Errorf("%q", got)
	}
}
