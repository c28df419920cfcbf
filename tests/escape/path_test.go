// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// apiPaths are where rkt puts something into an app's root.
func apiPaths() []string {
	return []string{
		"proc", "sys", "dev", "dev/null", "dev/zero", "dev/tty", "dev/console", "dev/ptmx", "dev/pts", "dev/shm", "dev/net", "dev/log", "etc", "run", "run/systemd",
		"run/systemd/journal", "tmp", "etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/mtab", "etc/localtime",
	}
}

// TestPathsOfImage: what an image has where rkt mounts, makes or binds
// something, leads nowhere.
func TestPathsOfImage(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		for _, p := range apiPaths() {
			for name, e := range f.impostors(p) {
				if !f.wanted(p, name) {
					continue
				}
				f.run(attack{
					name: p + " is a " + name, without: []string{p}, entries: append(parents(p), e),
					flags: []string{"--dns=192.0.2.1", "--hosts-entry=192.0.2.2=example.com"}, app: f.scribble(),
				})
			}
		}
	})
}

// impostors are what a path of an image may be instead.
func (f *field) impostors(p string) map[string]harness.Entry {
	there, up := filepath.Join(f.canary, p), strings.Repeat("../", 20)
	node := func(kind byte, major, minor int64) harness.Entry {
		return harness.Entry{Header: tar.Header{Typeflag: kind, Name: p, Mode: 0o666, Devmajor: major, Devminor: minor}}
	}
	return map[string]harness.Entry{
		"absolute link":    harness.Symlink(p, there),
		"relative link":    harness.Symlink(p, up+strings.TrimPrefix(there, "/")),
		"dangling link":    harness.Symlink(p, filepath.Join(f.canary, "made-"+filepath.Base(p))),
		"link to the root": harness.Symlink(p, "/"),
		"link to itself":   harness.Symlink(p, filepath.Base(p)),
		"link to proc":     harness.Symlink(p, "/proc/1/root"+there),
		"file":             harness.File(p, 0o666, "of the image\n"),
		"directory":        harness.Dir(p, 0o777),
		"fifo":             fifo(p),
		"memory device":    node(tar.TypeChar, 1, 1),
		"disk":             node(tar.TypeBlock, 7, 0),
	}
}

func fifo(p string) harness.Entry {
	return harness.Entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: p, Mode: 0o666}}
}

// wanted leaves out, where time is short, what is most like something else.
func (f *field) wanted(p, impostor string) bool {
	switch {
	case long():
		return true
	case f.flavor == "host":
		return impostor == "absolute link" && slices.Contains([]string{"dev", "dev/null", "etc/hosts", "proc", "run/systemd/journal"}, p)
	}
	return slices.Contains([]string{"absolute link", "fifo"}, impostor) || slices.Contains([]string{"proc", "dev", "dev/null", "etc/hosts"}, p)
}

// parents are the directories above a path, for images that have none.
func parents(p string) []harness.Entry {
	var all []harness.Entry
	for d := filepath.Dir(p); d != "." && d != "/"; d = filepath.Dir(d) {
		if d == "run/systemd" || d == "run/systemd/journal" || d == "dev/net" {
			all = append([]harness.Entry{harness.Dir(d, 0o755)}, all...)
		}
	}
	return all
}

// scribble is an app that writes to all of them. Under fly /dev, /proc and /sys
// are the host's.
func (f *field) scribble() map[string]any {
	var list []string
	for _, p := range apiPaths() {
		if f.flavor == "fly" && (p == "proc" || p == "sys" || strings.HasPrefix(p, "dev")) {
			continue
		}
		list = append(list, "/"+p)
	}
	return map[string]any{
		"exec": []string{program, "scribble"}, "environment": []map[string]string{{"name": "SCRIBBLE", "value": strings.Join(list, ":")}},
	}
}

// TestMountTargets: volumes over what protects the app, and over what leads
// out of it.
func TestMountTargets(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		bait := filepath.Join(f.TempDir(), "bait")
		f.must(os.MkdirAll(filepath.Join(bait, "self"), 0o755))
		for _, d := range []string{"sys/kernel", "pts", "shm", "self/attr"} {
			f.must(os.MkdirAll(filepath.Join(bait, d), 0o755))
		}
		file := filepath.Join(bait, "file")
		f.must(os.WriteFile(file, []byte("bait\n"), 0o644))
		inspect := append([]string{program, "inspect"}, f.look()[2:]...)
		links := []harness.Entry{
			harness.Symlink("to-proc", "/proc"), harness.Symlink("to-root", "/proc/self/root"), harness.Symlink("to-cwd", "/proc/self/cwd"), harness.Symlink("to-1", "/proc/1/root"),
			harness.Symlink("to-canary", f.canary), harness.Symlink("to-up", strings.Repeat("../", 20)+strings.TrimPrefix(f.canary, "/")), harness.Symlink("to-slash", "/"),
			harness.Symlink("to-fd", "/proc/self/fd/9"), harness.Symlink("loop", "loop"),
		}
		targets := []string{
			"/proc", "/proc/", "//proc", "/proc/.", "/bin/../proc", "proc", "/proc/self", "/proc/self/", "/proc/1", "/proc/sys", "/proc/sys/kernel", "/proc/self/attr", "/proc/self/fd", "/proc/self/fd/9", "/proc/self/root",
			"/proc/self/cwd", "/proc/1/root", "/proc/self/root/new", "/proc/thread-self", "/proc/bus", "/proc/irq", "/sys", "/sys/fs", "/sys/fs/cgroup", "/sys/kernel", "/sys/firmware", "/dev", "/dev/pts", "/dev/shm",
			"/dev/fd/9", "/dev/mqueue", "/run", "/run/systemd", "/run/systemd/journal", "/etc", "/tmp",
			"/", "/.", "..", "/..", "/../..", "/bin/../..", ".", "../../../../../.." + f.canary, "/.." + f.canary,
			"/to-proc", "/to-proc/sys", "/to-root", "/to-root/x", "/to-cwd", "/to-cwd/x", "/to-1/x", "/to-canary", "/to-canary/sub", "/to-canary/new/er", "/to-up/sub", "/to-slash", "/to-slash/proc", "/to-fd", "/to-fd/x", "/loop", "/loop/x",
			"/bin/attacker", "/bin/attacker/x", "/new/to/make",
		}
		files := []string{"/proc/self/exe", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/self/mem", "/dev/null", "/dev/ptmx", "/dev/console", "/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/to-canary/file", "/to-canary/new-file", "/to-root/file"}
		for i, target := range f.some(targets) {
			f.run(attack{
				name: "host directory at " + target, entries: links, app: map[string]any{"exec": inspect},
				flags: []string{"--volume=v,kind=host,source=" + bait}, appFlags: []string{"--mount=volume=v,target=" + target},
			})
			if i%4 == 0 || long() {
				f.run(attack{
					name: "empty volume at " + target, entries: links, app: map[string]any{"exec": inspect},
					flags: []string{"--volume=v,kind=empty"}, appFlags: []string{"--mount=volume=v,target=" + target},
				})
			}
		}
		for _, target := range f.some(files) {
			f.run(attack{
				name: "host file at " + target, entries: links, app: map[string]any{"exec": inspect},
				flags: []string{"--volume=v,kind=host,source=" + file}, appFlags: []string{"--mount=volume=v,target=" + target},
			})
		}
	})
}
