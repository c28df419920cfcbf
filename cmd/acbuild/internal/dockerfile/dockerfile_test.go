// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"slices"
	"strings"
	"testing"
)

func options() Options {
	return Options{Dir: "ctx", Entries: func(path string) ([]string, bool) {
		switch path {
		case "ctx/dir", "ctx":
			return []string{"x", "y"}, true
		}
		return nil, false
	}}
}

func TestScript(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"from":         {"FROM alpine:3", "begin docker://alpine:3"},
		"from ARG":     {"ARG V=3\nfrom alpine:${V} AS x", "begin docker://alpine:3"},
		"scratch":      {"# c\n\nFROM scratch", "begin"},
		"run shell":    {"FROM a\nRUN a && \\\n # comment\n b 'c'", `begin docker://a|run -- /bin/sh -c "a &&  b 'c'"`},
		"run exec":     {"FROM a\nRUN [\"/a\", \"b c\"]", `begin docker://a|run -- /a "b c"`},
		"run workdir":  {"FROM a\nWORKDIR /w\nWORKDIR x\nRUN [\"/a\"]\nRUN b", `begin docker://a|set-working-directory /w|set-working-directory /w/x|run --working-dir=/w/x -- /a|run -- /bin/sh -c "mkdir -p '/w/x' && cd '/w/x' || exit; b"`},
		"run arg":      {"FROM a\nARG A=x\\'y\nRUN b", `begin docker://a|run -- /bin/sh -c "export A='x'\\''y'; b"`},
		"env":          {"FROM a\nENV A=b C=\"d e\"\nENV F $A", `begin docker://a|environment add A b|environment add C "d e"|environment add F b`},
		"dashes":       {"FROM a\nENV A=--debug -B=c\nCOPY -x /y", "begin docker://a|environment add -- A --debug|environment add -- -B c|copy ctx/-x /y"},
		"env used":     {"FROM a\nENV A=b\nENV B=${A}c D='$A' E=${X:-no} F=${A:+yes}", "begin docker://a|environment add A b|environment add B bc|environment add D $A|environment add E no|environment add F yes"},
		"copy":         {"FROM a\nCOPY f /g\nCOPY f g /h/\nCOPY f .\nADD [\"f\",\"/g h\"]", `begin docker://a|copy ctx/f /g|copy-to-dir ctx/f ctx/g /h|copy-to-dir ctx/f /|copy ctx/f "/g h"`},
		"copy dir":     {"FROM a\nCOPY dir /d\nCOPY . /all", "begin docker://a|copy-to-dir ctx/dir/x ctx/dir/y /d|copy-to-dir ctx/x ctx/y /all"},
		"expose":       {"FROM a\nEXPOSE 80 53/udp", "begin docker://a|port add 80-tcp tcp 80|port add 53-udp udp 53"},
		"volume":       {"FROM a\nVOLUME /data /b/c\nVOLUME [\"/e\"]", "begin docker://a|mount add volume-data /data|mount add volume-b-c /b/c|mount add volume-e /e"},
		"user":         {"FROM a\nUSER u:g", "begin docker://a|set-user u|set-group g"},
		"label":        {"FROM a\nLABEL Org.x=y", "begin docker://a|annotation add org.x y"},
		"exec":         {"FROM a\nENTRYPOINT [\"/a\"]\nCMD [\"-b\"]", "begin docker://a|set-exec -- /a -b"},
		"cmd shell":    {"FROM a\nCMD a b", `begin docker://a|set-exec -- /bin/sh -c "a b"`},
		"entry shell":  {"FROM a\nENTRYPOINT a\nCMD [\"b\"]", "begin docker://a|set-exec -- /bin/sh -c a"},
		"entry resets": {"FROM a\nCMD [\"b\"]\nENTRYPOINT [\"/a\"]", "begin docker://a|set-exec -- /a"},
	} {
		lines, notices, err := Script(tt.in, options())
		if got := strings.Join(lines, "|"); err != nil || got != tt.want || len(notices) > 0 {
			t.Errorf("%s:\n%s\n%s, %q, %v", name, got, tt.want, notices, err)
		}
	}
	o := options()
	o.Name, o.Write, o.Run = "example.com/a", "a.aci", []string{"--engine=chroot"}
	lines, notices, err := Script("FROM a\nHEALTHCHECK NONE\nRUN x", o)
	if want := []string{"begin docker://a", "run --engine=chroot -- /bin/sh -c x", "set-name example.com/a", "write a.aci"}; err != nil || !slices.Equal(lines, want) || len(notices) != 1 {
		t.Errorf("%q, %q, %v", lines, notices, err)
	}
}

// What cannot be said is refused, with the line.
func TestScriptRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "there is no FROM",
		"RUN a":                          "line 1: RUN: FROM has to come first",
		"FROM a\nFROM b":                 "line 2: FROM: there are several FROM",
		"FROM --platform=x a":            "the flag --platform=x is not supported",
		"FROM a\nRUN --mount=type=x a":   "flags are not supported",
		"FROM a\nRUN <<E\na\nE":          "here-documents",
		"FROM a\nCOPY --from=b c d":      "the flag --from=b is not supported",
		"FROM a\nCOPY ../x /y":           "outside of the directory",
		"FROM a\nCOPY * /y":              "patterns",
		"FROM a\nCOPY x":                 "source and destination",
		"FROM a\nADD https://a/b /y":     "only files beside",
		"FROM a\nADD x.tar.gz /y":        "archives are not unpacked",
		"FROM a\nENV A=":                 "empty word",
		"FROM a\nARG A=b\nRUN [\"/a\"]":  "does not see ARG",
		"FROM a\nENV A='":                "a quote has no end",
		"FROM a\nENV A=${B?x}":           "is not supported",
		"FROM a\nENV A=${B":              "has no end",
		"FROM a\nSHELL [\"x\"]":          "SHELL: it is not supported",
		"FROM a\nONBUILD RUN x":          "ONBUILD: it is not supported",
		"FROM a\nRUN a \\":               "line 2: the instruction has no end",
		"FROM a\nUSER":                   "it has no arguments",
		"# escape=`\nFROM a":             "line 1: only the escape character",
		"FROM a\nRUN [\"a\", \"b\\nc\"]": "line break",
	} {
		if lines, _, err := Script(in, options()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", in, lines, err)
		}
	}
}

func FuzzScript(f *testing.F) {
	f.Add("FROM a\nENV A=b\nRUN ${A} \\\n c\nCOPY a b /c")
	f.Add("FROM scratch\nENV A=${B:-c} 'd'=\"e\\\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		lines, _, err := Script(text, options())
		if err != nil {
			return
		}
		for _, line := range lines {
			if strings.ContainsAny(line, "\r\n") {
				t.Errorf("%q", line)
			}
		}
	})
}
