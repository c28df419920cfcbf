// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestProgramOfTheHost: /proc/self/exe and its kind name rkt's own program at
// the moment an app is started (CVE-2019-5736 and relatives).
func TestProgramOfTheHost(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		script := harness.File("bin/script", 0o755, "#!/proc/self/exe\n")
		for _, p := range f.some([]string{"/proc/self/exe", "/proc/thread-self/exe", "/proc/1/exe", "/proc/self/task/../exe", "/proc/self/fd/3", "/dev/fd/3", "/proc/self/root/../bin/sh", "/proc/self/cwd/bin/sh"}) {
			f.run(attack{name: "entrypoint " + p, app: map[string]any{"exec": []string{p, "look", f.canary}}, allow: refused, check: notRun})
		}
		// The name under which it is called may say what it does.
		for _, name := range f.some([]string{"launch", "init", "run", "enter", "gc", "stop", "post-stop", "app_add", "attach", "rkt"}) {
			link := []harness.Entry{harness.Symlink("bin/"+name, "/proc/self/exe")}
			f.run(attack{name: "entrypoint by link " + name, entries: link, app: map[string]any{"exec": []string{"/bin/" + name, "app", "--help"}}, allow: refused, check: notRun})
			f.run(attack{
				name: "entrypoint is a script of " + name, entries: append(link, harness.File("bin/script", 0o755, "#!/bin/"+name+" app\n")),
				app: map[string]any{"exec": []string{"/bin/script"}}, allow: refused,
			})
		}
		f.run(attack{name: "entrypoint by directory link", entries: []harness.Entry{harness.Symlink("me", "/proc/self")}, app: map[string]any{"exec": []string{"/me/exe"}}, allow: refused, check: notRun})
		f.run(attack{
			name: "entrypoint by PATH", app: map[string]any{"exec": []string{"exe"}, "environment": []map[string]string{{"name": "PATH", "value": "/proc/self"}}}, allow: refused, check: notRun,
		})
		f.run(attack{name: "entrypoint is a script of it", entries: []harness.Entry{script}, app: map[string]any{"exec": []string{"/bin/script"}}, allow: refused})
		f.run(attack{
			name: "entrypoint is a script of a script of it", entries: []harness.Entry{script, harness.File("bin/outer", 0o755, "#!/bin/script\n")},
			app: map[string]any{"exec": []string{"/bin/outer"}}, allow: refused,
		})
		for _, handler := range []string{"pre-start", "post-stop"} {
			if f.flavor == "fly" && handler == "post-stop" {
				continue // refused as such
			}
			for name, exec := range map[string][]string{
				"it": {"/proc/self/exe", "deeds"}, "a script of it": {"/bin/script"}, "a link to it": {"/bin/link"},
			} {
				a := attack{name: handler + " is " + name, entries: []harness.Entry{script, harness.Symlink("bin/link", "/proc/self/exe")}}
				a.app = map[string]any{"eventHandlers": []map[string]any{{"name": handler, "exec": exec}}}
				if handler == "pre-start" {
					a.allow = refused
				}
				f.run(a)
			}
		}
		// A loader of the image's is no program of the host, and runs as the app.
		f.run(attack{
			name: "preload by environment", allow: contained,
			app: map[string]any{"environment": []map[string]string{{"name": "LD_PRELOAD", "value": f.canary + "/program"}, {"name": "LD_LIBRARY_PATH", "value": "/tmp"}, {"name": "GODEBUG", "value": "execerrdot=0"}}},
		})
	})
}

// notRun: rkt itself says why the program is none; the program was not run to
// say so.
func notRun(f *field, r harness.Result) {
	f.Helper()
	if strings.Contains(r.Stdout+r.Stderr, "is not an entrypoint") || strings.Contains(r.Stdout+r.Stderr, "usage") {
		f.Errorf("rkt's own program was run by the image")
	}
}

// TestWorkingDirectoryOfTheHost: a descriptor that rkt has open may be a
// directory of the host (CVE-2024-21626).
func TestWorkingDirectoryOfTheHost(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		numbers := []int{31, 63, 64, 100, 128, 255}
		if f.flavor != "host" {
			for n := range 16 {
				numbers = append(numbers, n)
			}
		}
		if long() {
			numbers = nil
			for n := range 256 {
				numbers = append(numbers, n)
			}
		}
		image := f.image(attack{})
		before := f.outside()
		for _, n := range numbers {
			f.start1(image, "--working-dir=/proc/self/fd/"+itoa(n))
		}
		f.compare(before, f.outside())
		for _, n := range []int{0, 3, 7, 9, 10} {
			target := "/proc/self/fd/" + itoa(n)
			f.run(attack{
				name: "link to descriptor " + itoa(n), entries: []harness.Entry{harness.Symlink("wd", target)}, app: map[string]any{"workingDirectory": "/wd"}, allow: refused,
			})
		}
		for name, target := range map[string]string{
			"root": "/proc/self/root", "cwd": "/proc/self/cwd", "root of 1": "/proc/1/root", "cwd of 1": "/proc/1/cwd", "thread": "/proc/thread-self/root",
			"task": "/proc/self/task/../fd/7", "dev/fd": "/dev/fd/7", "up": "../../../../../../../.." + f.canary, "absolute": f.canary,
		} {
			f.run(attack{name: "link to " + name, entries: []harness.Entry{harness.Symlink("wd", target)}, app: map[string]any{"workingDirectory": "/wd"}})
			f.run(attack{name: "dots " + name, app: map[string]any{"workingDirectory": "/../../../.." + target}})
		}
	})
}

// start1 is an attack of an image that is there already.
func (f *field) start1(image string, flags ...string) {
	f.Helper()
	f.Run(strings.Join(flags, " "), func(t *testing.T) {
		g := f.on(t)
		a := attack{allow: refused}
		r := g.start(a, append([]string{"run", g.stage1, "--net=none", image}, flags...))
		g.judge(a, r)
		if g.Failed() {
			g.Logf("%s", r)
		}
	})
}
