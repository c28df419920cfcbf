// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// strange are strings that some program on the way might take for more than
// text: units, shells, kernel command lines, terminals. None has a NUL.
func strange(canary string) map[string]string {
	touch := canary + "/made-by-string"
	return map[string]string{
		"blank":          " ",
		"blanks":         "  two  words  ",
		"newline":        "a\nb",
		"unit":           "x\n[Service]\nExecStartPre=+/bin/touch " + touch + "\nUser=root\n",
		"carriage":       "a\rb\r\n",
		"specifier":      "%n %i %% %h %%h %",
		"dollar":         "$HOME ${HOME} $$ $(touch " + touch + ") ${",
		"backquote":      "`touch " + touch + "`",
		"semicolon":      "; /bin/touch " + touch + " ;",
		"pipe":           "| touch " + touch + " & && || > " + touch,
		"single":         `it's 'quoted'`,
		"double":         `say "hi" "`,
		"backslash":      `\ \\ \n \x41 \101 \`,
		"hash":           "#comment",
		"colon":          "a:b:c",
		"comma":          "a,b=c,d",
		"equals":         "a=b=c",
		"dash":           "--property=ExecStartPre=/bin/touch " + touch,
		"prefix":         "+!!-:@/bin/touch",
		"glob":           "*?[a-z]{a,b}~",
		"control":        "\x01\x02\x07\x08\x1b[31mred\x1b[0m\x7f",
		"tab":            "\ta\t",
		"unicode":        "ünïcödé ☃ \u202e rtl \u2028",
		"bom":            "\ufeffx",
		"not utf-8":      "a\xff\xfeb\xc3",
		"long":           strings.Repeat("long ", 3000),
		"json":           `","user":"0","x":"`,
		"dots":           "../../../../../../../../.." + touch,
		"line continued": "a\\\n b",
	}
}

// names are the sorted keys.
func names[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// telling are the strings for which there is time in the short form.
func (f *field) telling(keys []string) []string {
	few := []string{"unit", "control", "specifier", "nul", "empty", "dots", "dollar", "double", "newline", "not utf-8", "colon", "backslash"}
	if f.flavor == "host" {
		few = []string{"unit", "specifier"}
	}
	return slices.DeleteFunc(keys, func(k string) bool { return !long() && !slices.Contains(few, k) })
}

// utf8 are those of the strings that a manifest can hold.
func utf8(m map[string]string) map[string]string {
	delete(m, "not utf-8")
	return m
}

type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// podApp is an app of a pod manifest.
func podApp(name, image string, section map[string]any) map[string]any {
	full := map[string]any{"exec": []string{program, "report"}, "user": "0", "group": "0"}
	for k, v := range section {
		full[k] = v
	}
	return map[string]any{"name": name, "image": map[string]any{"id": image}, "app": full}
}

// onePod is a manifest with one app.
func onePod(section map[string]any, more map[string]any) func(image string) map[string]any {
	return func(image string) map[string]any {
		app := podApp("app", image, section)
		m := map[string]any{"apps": []map[string]any{app}}
		for k, v := range more {
			if k == "mounts" || strings.HasPrefix(k, "app.") {
				app[strings.TrimPrefix(k, "app.")] = v
			} else {
				m[k] = v
			}
		}
		return m
	}
}

// TestStringsArrive: arguments and variables arrive as they were given, by
// flag and by manifest, in the app, its handler and a command that enters.
func TestStringsArrive(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		manifestStrings, flagStrings := utf8(strange(f.canary)), utf8(strange(f.canary))
		for name, list := range map[string]map[string]string{"manifest": manifestStrings, "flags": flagStrings} {
			var args []string
			env := map[string]string{}
			for i, n := range names(list) {
				args = append(args, list[n])
				env[fmt.Sprintf("STRANGE_%d", i)] = list[n]
			}
			args = append(args, "")
			a := attack{name: name, allow: contained, check: func(f *field, r harness.Result) {
				f.Helper()
				for _, got := range f.reports(r.Stdout) {
					f.sameArgs(got.Args, append([]string{program, "report"}, args...))
					f.hasEnv(got.Env, env)
				}
			}}
			if name == "manifest" {
				var list []pair
				for k, v := range env {
					list = append(list, pair{k, v})
				}
				exec := append([]string{program, "report"}, args...)
				a.manifest = onePod(map[string]any{
					"exec": exec, "environment": list, "eventHandlers": []map[string]any{{"name": "pre-start", "exec": exec}},
				}, nil)
			} else {
				a.appFlags = []string{"--exec=" + program}
				for k, v := range env {
					a.appFlags = append(a.appFlags, "--environment="+k+"="+v)
				}
				a.args = append([]string{"report"}, args...)
			}
			f.run(a)
		}
		// What no manifest can hold is refused, or arrives.
		odd := strange(f.canary)["not utf-8"]
		f.run(attack{
			name: "bytes of no encoding", appFlags: []string{"--exec=" + program, "--environment=STRANGE=" + odd}, args: []string{"report", odd},
			check: func(f *field, r harness.Result) {
				f.Helper()
				if r.Status == 0 {
					got := f.reports(r.Stdout)[0]
					f.sameArgs(got.Args, []string{program, "report", odd})
					f.hasEnv(got.Env, map[string]string{"STRANGE": odd})
				}
			},
		})
		f.run(attack{
			name: "pod-wide variables", allow: contained, flags: []string{"--set-env=STRANGE=" + flagStrings["unit"]}, app: map[string]any{"exec": []string{program, "report"}},
			check: func(f *field, r harness.Result) {
				f.Helper()
				f.hasEnv(f.reports(r.Stdout)[0].Env, map[string]string{"STRANGE": flagStrings["unit"]})
			},
		})
	})
}

func (f *field) sameArgs(got, want []string) {
	f.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			f.Errorf("argument %d is missing: %.80q", i, want[i])
		case i >= len(want):
			f.Errorf("argument %d is too much: %.80q", i, got[i])
		case got[i] != want[i]:
			f.Errorf("argument %d is %.80q, want %.80q", i, got[i], want[i])
		}
	}
}

func (f *field) hasEnv(got []string, want map[string]string) {
	f.Helper()
	for k, v := range want {
		if i := slices.IndexFunc(got, func(e string) bool { return strings.HasPrefix(e, k+"=") }); i < 0 {
			f.Errorf("no %s, which should be %.80q", k, v)
		} else if got[i] != k+"="+v {
			f.Errorf("%.80q, want %s=%.80q", got[i], k, v)
		}
	}
}

// TestStringsInPaths: working directories, programs, mount targets and volume
// sources with strange names are the ones meant, or refused.
func TestStringsInPaths(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		list := strange(f.canary)
		for _, n := range f.telling(names(list)) {
			name := strings.ReplaceAll(strings.TrimSpace(list[n]), "/", "_") // one component
			if name == "" || len(name) > 200 || n == "dots" {
				continue
			}
			if n == "not utf-8" {
				name = "a\xff\xfeb"
			}
			f.pathString(n, name)
		}
	})
}

func (f *field) pathString(n, name string) {
	f.Helper()
	dir := harness.Dir("wd/"+name, 0o755)
	entries := []harness.Entry{harness.Dir("wd", 0o755), dir, harness.Symlink("wd/"+name+"/prog", program)}
	exact := func(what, want string, got func(facts) string) func(f *field, r harness.Result) {
		return func(f *field, r harness.Result) {
			f.Helper()
			if r.Status != 0 {
				return // refused; judge looked at how
			}
			if is := got(f.reports(r.Stdout)[0]); is != want {
				f.Errorf("%s is %q, want %q", what, is, want)
			}
		}
	}
	working := exact("working directory", "/wd/"+name, func(got facts) string { return got.Dir })
	argv0 := exact("argv[0]", "/wd/"+name+"/prog", func(got facts) string { return got.Args[0] })
	path := "/wd/" + name
	if n != "not utf-8" { // no manifest can hold it
		f.run(attack{name: "working directory of image: " + n, entries: entries, app: map[string]any{"exec": []string{program, "report"}, "workingDirectory": path}, check: working})
		f.run(attack{name: "program of image: " + n, entries: entries, app: map[string]any{"exec": []string{path + "/prog", "report"}}, check: argv0})
	}
	f.run(attack{name: "working directory by flag: " + n, entries: entries, app: map[string]any{"exec": []string{program, "report"}}, appFlags: []string{"--working-dir=" + path}, check: working})
	f.run(attack{name: "program by flag: " + n, entries: entries, appFlags: []string{"--exec=" + path + "/prog"}, args: []string{"report"}, check: argv0})
	if !strings.Contains(name, ":") {
		f.run(attack{
			name: "program by PATH: " + n, entries: entries, appFlags: []string{"--exec=prog", "--environment=PATH=/nowhere:" + path}, args: []string{"report"}, check: argv0,
		})
	}
	source := filepath.Join(f.TempDir(), name)
	f.must(os.Mkdir(source, 0o755))
	f.must(os.WriteFile(filepath.Join(source, "file"), []byte("of the volume\n"), 0o644))
	mounted := func(f *field, r harness.Result) {
		f.Helper()
		if r.Status == 0 && f.reports(r.Stdout)[0].Dir != "/at/"+name {
			f.Errorf("working directory in the volume is %q", f.reports(r.Stdout)[0].Dir)
		}
	}
	if n != "not utf-8" {
		f.run(attack{
			name: "volume by manifest: " + n, check: mounted,
			manifest: onePod(map[string]any{"workingDirectory": "/at/" + name}, map[string]any{
				"mounts":  []map[string]any{{"volume": "v", "path": "/at/" + name}},
				"volumes": []map[string]any{{"name": "v", "kind": "host", "source": source}},
			}),
		})
	}
	if !strings.Contains(name, ",") { // separates the parts of the flag
		f.run(attack{
			name: "volume by flag: " + n, check: mounted, app: map[string]any{"exec": []string{program, "report"}},
			flags: []string{"--volume=v,kind=host,source=" + source}, appFlags: []string{"--mount=volume=v,target=/at/" + name, "--working-dir=/at/" + name},
		})
	}
}

// TestStringsElsewhere: every other string of manifests and flags is kept,
// refused, or changes nothing.
func TestStringsElsewhere(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		report := map[string]any{"exec": []string{program, "report"}}
		list := utf8(strange(f.canary))
		list["nul"] = "a\x00b"
		list["empty"] = ""
		for _, n := range f.telling(names(list)) {
			s := list[n]
			if n == "long" {
				s = s[:5000]
			}
			// Names with a grammar are refused.
			if n != "dash" {
				f.run(attack{name: "app name: " + n, allow: refused, manifest: func(image string) map[string]any {
					return map[string]any{"apps": []map[string]any{podApp(s, image, nil)}}
				}})
			}
			f.run(attack{name: "variable name: " + n, allow: refused, manifest: onePod(map[string]any{"environment": []pair{{s, "x"}}}, nil)})
			f.run(attack{name: "volume name: " + n, allow: refused, manifest: onePod(nil, map[string]any{
				"mounts": []map[string]any{{"volume": s, "path": "/v"}}, "volumes": []map[string]any{{"name": s, "kind": "empty"}},
			})})
			f.run(attack{name: "handler: " + n, allow: refused, manifest: onePod(map[string]any{"eventHandlers": []map[string]any{{"name": s, "exec": []string{program, "report"}}}}, nil)})
			f.run(attack{name: "isolator name: " + n, allow: refused, manifest: onePod(map[string]any{"isolators": []map[string]any{{"name": s, "value": true}}}, nil)})
			f.run(attack{name: "capability: " + n, allow: refused, manifest: onePod(map[string]any{"isolators": []map[string]any{
				{"name": "os/linux/capabilities-retain-set", "value": map[string]any{"set": []string{s}}},
			}}, nil)})
			f.run(attack{name: "system call: " + n, allow: refused, manifest: onePod(map[string]any{"isolators": []map[string]any{
				{"name": "os/linux/seccomp-remove-set", "value": map[string]any{"set": []string{s}}},
			}}, nil)})
			if n != "empty" {
				f.run(attack{name: "memory: " + n, allow: refused, manifest: onePod(map[string]any{"isolators": []map[string]any{
					{"name": "resource/memory", "value": map[string]any{"limit": s}},
				}}, nil)})
				f.run(attack{name: "errno: " + n, allow: refused, manifest: onePod(map[string]any{"isolators": []map[string]any{
					{"name": "os/linux/seccomp-remove-set", "value": map[string]any{"set": []string{"reboot"}, "errno": s}},
				}}, nil)})
				f.run(attack{name: "user: " + n, allow: refused, manifest: onePod(map[string]any{"user": s}, nil)})
				f.run(attack{name: "group: " + n, allow: refused, manifest: onePod(map[string]any{"group": s}, nil)})
			}
			f.run(attack{name: "path of user: " + n, allow: refused, manifest: onePod(map[string]any{"user": "/" + s + "/x"}, nil)})
			f.run(attack{name: "stream: " + n, allow: f.streamOutcome(s), manifest: onePod(nil, map[string]any{"app.annotations": []pair{{"coreos.com/rkt/stage2/stdin", s}}})})
			// Free text changes nothing.
			f.run(attack{name: "labels and annotations of the image: " + n, image: map[string]any{
				"labels":      []pair{{"version", s}, {"arch", harness.HostArch()}, {"os", "linux"}, {"example.com/l", s}},
				"annotations": []pair{{"authors", s}, {"appc.io/executor/supports-systemd-notify", s}, {"appc.io/docker/repository", s}, {"example.com/a", s}},
			}, app: report})
			f.run(attack{name: "annotations and labels: " + n, manifest: onePod(map[string]any{
				"userAnnotations": map[string]string{"example.com/a": s, s: "x"}, "userLabels": map[string]string{"example.com/l": s, s: "x"},
			}, map[string]any{
				"annotations": []pair{{"example.com/pod", s}, {"coreos.com/rkt/stage1/mutable", s}}, "app.annotations": []pair{{"example.com/app", s}},
				"userAnnotations": map[string]string{"example.com/a": s}, "userLabels": map[string]string{"example.com/l": s},
			})})
			if s != "" && n != "nul" {
				f.run(attack{name: "host name: " + n, flags: []string{"--hostname=" + s}, app: report, check: func(f *field, r harness.Result) {
					f.Helper()
					if r.Status == 0 && f.flavor != "fly" && f.reports(r.Stdout)[0].Hostname != s {
						f.Errorf("host name %.80q, want %.80q", f.reports(r.Stdout)[0].Hostname, s)
					}
				}})
			}
		}
	})
}

// streamOutcome: an empty mode may stand for the default.
func (f *field) streamOutcome(mode string) outcome {
	if mode == "" {
		return anyway
	}
	return refused
}

// TestNamesOfUnits: an app may have a name that means something to a service
// manager, to the kernel or to rkt. It runs, or it is refused; nothing else
// of that name is touched.
func TestNamesOfUnits(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		for _, name := range f.some([]string{
			"cpu", "systemd", "systemd-journald", "systemd-journald-dev-log", "dbus", "halt", "shutdown", "poweroff", "reboot", "exit", "rescue", "emergency", "default", "basic", "sysinit",
			"multi-user", "system", "user", "machine", "launch", "pid1", "post-stop", "rkt", "run", "stop", "gc", "enter", "stage1", "env", "status", "apps", "memory", "init", "pids", "devices", "unified",
			"cgroup", "tmp", "proc", "root", "a", "0", "1", "a-stdin", "a-stdout", "getty", "console", strings.Repeat("n", 63), strings.Repeat("n", 200), strings.Repeat("n", 300),
		}) {
			f.run(attack{name: name, manifest: onePod(nil, nil), check: nil, allow: anyway, rename: name})
		}
	})
}
