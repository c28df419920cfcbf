// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestUserStrings: what is no user is an error, and never root.
func TestUserStrings(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		for _, s := range f.some([]string{
			"4294967296", "4294967295", "-1", "-0", "0 ", " 0", "+0", "0x0", "0x3e8", "00000000000000000000000000000000001", "0.0", "1e3", "１０００", "18446744073709551616", "9223372036854775808",
			"-4294967296", "0\t", "root ", " root", "ROOT", "root\x00x", "0:0", "root:root", "1000:0", "#0", "%0", "/", "//", "/etc/../..", "nobody", "alice:", "*", "\u0660",
		}) {
			for _, which := range []string{"user", "group"} {
				a := attack{name: which + " " + s, allow: refused, manifest: onePod(map[string]any{"user": "1000", "group": "1000", which: s}, nil)}
				switch s {
				case "/", "//", "/etc/../..": // its owner, which is root
					a.allow = contained
				case "00000000000000000000000000000000001": // a number is a number
					a.allow = anyway
				}
				if s == "-0" || s == "00000000000000000000000000000000001" || s == "１０００" || s == "\u0660" {
					a.check = func(f *field, r harness.Result) {
						f.Helper()
						kind := map[string]string{"user": "Uid", "group": "Gid"}[which]
						if r.Status == 0 && f.reports(r.Stdout)[0].Status[kind] == "0 0 0 0" {
							f.Errorf("%s %q is root", which, s)
						}
					}
				}
				f.run(a)
				if !strings.Contains(s, "\x00") && (long() || s == "0 " || s == "-1") {
					a.manifest, a.name = nil, a.name+" by flag"
					a.app = map[string]any{"exec": []string{program, "report"}}
					a.appFlags = []string{"--" + which + "=" + s}
					f.run(a)
				}
			}
		}
		f.run(attack{name: "negative supplementary group", allow: refused, manifest: onePod(map[string]any{"supplementaryGIDs": []int64{-1}}, nil)})
		f.run(attack{name: "large supplementary group", allow: refused, manifest: onePod(map[string]any{"supplementaryGIDs": []int64{4294967296}}, nil)})
		f.run(attack{name: "no group", allow: refused, manifest: onePod(map[string]any{"supplementaryGIDs": []int64{4294967295}}, nil)})
	})
}

// TestPasswdOfImage: the passwd and group files belong to the attacker.
func TestPasswdOfImage(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		long := strings.Repeat("x", 1<<20)
		files := map[string]string{
			"uid too large":       "evil:x:4294967296:1::/:/bin/sh\n",
			"uid -1":              "evil:x:-1:1::/:/bin/sh\n",
			"uid no id":           "evil:x:4294967295:1::/:/bin/sh\n",
			"uid empty":           "evil:x::1::/:/bin/sh\n",
			"uid blank":           "evil:x: :1::/:/bin/sh\n",
			"uid plus":            "evil:x:+0:1::/:/bin/sh\n",
			"uid hexadecimal":     "evil:x:0x0:1::/:/bin/sh\n",
			"uid with blank":      "evil:x:0 :1::/:/bin/sh\n",
			"carriage returns":    "evil:x:0\r:1::/:/bin/sh\r\n",
			"control characters":  "evil:x:0\x01:1::/:/bin/sh\n",
			"NUL":                 "evil:x:0\x00:1::/:/bin/sh\n",
			"only a name":         "evil\n",
			"name is a prefix":    "evilx:x:0:0::/:/bin/sh\n",
			"blank before":        " evil:x:0:0::/:/bin/sh\n",
			"blank after":         "evil :x:0:0::/:/bin/sh\n",
			"comment":             "#evil:x:0:0::/:/bin/sh\n",
			"compat":              "+evil:x:0:0::/:/bin/sh\n+::::::\n",
			"long line before":    long + ":x:0:0::/:/bin/sh\n",
			"very long line":      "evil:" + long + ":0:0::/:/bin/sh\n",
			"name in other field": "x:evil:0:0::/:/bin/sh\n",
		}
		for _, name := range f.some(names(files)) {
			passwd := files[name]
			f.run(attack{
				name: name, without: []string{"etc/passwd", "etc/group"}, app: map[string]any{"exec": []string{program, "report"}, "user": "evil", "group": "1000"},
				entries: []harness.Entry{harness.File("etc/passwd", 0o644, passwd), harness.File("etc/group", 0o644, strings.ReplaceAll(passwd, "::/:/bin/sh", ""))},
				check: func(f *field, r harness.Result) {
					f.Helper()
					if r.Status == 0 && !slices.Contains([]string{"very long line"}, name) {
						f.Errorf("started as %s", f.reports(r.Stdout)[0].Status["Uid"])
					}
				},
			})
		}
		// Of a well-formed line, only the text arrives, in variables.
		for name, line := range map[string]string{
			"home":  "evil:x:1000:1000::/h\x1b[31m\x01${PATH}%n;'\":/bin/sh\n",
			"shell": "evil:x:1000:1000::/home:/bin/sh\x1b]0;x\x07 --login\n",
			"empty": "evil:x:1000:1000:::\n",
		} {
			f.run(attack{
				name: "strange " + name, without: []string{"etc/passwd"}, app: map[string]any{"exec": []string{program, "report"}, "user": "evil", "group": "1000"},
				entries: []harness.Entry{harness.File("etc/passwd", 0o644, line)},
				check: func(f *field, r harness.Result) {
					f.Helper()
					if r.Status == 0 && f.reports(r.Stdout)[0].Status["Uid"] != "1000 1000 1000 1000" {
						f.Errorf("started as %s", f.reports(r.Stdout)[0].Status["Uid"])
					}
				},
			})
		}
		// The files lead to the host's, whose root is then the attacker's.
		hosts := f.canary + "/etc/passwd"
		f.must(os.WriteFile(hosts, []byte("canary\nevil:x:0:0::/:/bin/sh\n"), 0o666))
		for name, target := range map[string]string{
			"absolute": hosts, "relative": strings.Repeat("../", 20) + hosts, "proc": "/proc/1/root" + hosts, "descriptor": "/proc/self/fd/9", "self": "passwd", "null": "/dev/null", "fifo": "",
		} {
			e := harness.Symlink("etc/passwd", target)
			if name == "fifo" {
				e = fifo("etc/passwd")
			}
			f.run(attack{
				name: "passwd leads to " + name, without: []string{"etc/passwd"}, entries: []harness.Entry{e}, allow: refused,
				app: map[string]any{"exec": []string{program, "report"}, "user": "evil", "group": "1000"},
			})
			if name != "fifo" {
				f.run(attack{name: "owner of a file of " + name, entries: []harness.Entry{harness.Symlink("owner", target)}, app: map[string]any{"exec": []string{program, "report"}, "user": "/owner/x", "group": "1000"}, allow: refused})
			}
		}
		f.trees = f.deep()
	})
}
