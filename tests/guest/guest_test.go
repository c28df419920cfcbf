// SPDX-License-Identifier: Apache-2.0

//go:build guest

package guest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestUnified runs the checks on a host that has cgroup v2 alone.
func TestUnified(t *testing.T) { runChecks(t, machine{host: "unified"}, "^TestUnified$") }

// TestLegacy runs them on one that has cgroup v1 alone, and no nf_tables.
func TestLegacy(t *testing.T) { runChecks(t, machine{host: "legacy"}, "^TestLegacy$") }

// TestSystemd runs those on Debian 12, whose PID 1 is systemd, with cgroup v2.
func TestSystemd(t *testing.T) { debian(t, "bookworm") }

// TestSystemd13 runs them on Debian 13.
func TestSystemd13(t *testing.T) { debian(t, "trixie") }

func debian(t *testing.T, release string) {
	t.Helper()
	testenv.NeedsProgram(t, "debootstrap")
	runChecks(t, machine{host: "systemd", debian: debianDisk(t, release)}, "^TestSystemd$")
}

// runEnv restricts the checks further, as go test -run does: /memory.
const runEnv = "RKT_GUEST_RUN"

func runChecks(t *testing.T, m machine, run string) {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "qemu-system-x86_64")
	m.kernel = debianKernel(t)
	args := "-test.v -test.timeout=" + patience.String() + " -test.run=" + run + os.Getenv(runEnv)
	m.disk = makeDisk(t, hostTree(t, args, m.host == "legacy"), "2G")
	report(t, m.run(t))
}

// report makes a test of each of the guest's.
func report(t *testing.T, c console) {
	t.Helper()
	if !strings.Contains(c.text, "guest: checks ended with ") {
		t.Errorf("the guest has not run its checks to the end")
	}
	if len(c.results) == 0 {
		t.Errorf("no check was executed")
	}
	for _, name := range slices.Sorted(maps.Keys(c.results)) {
		t.Run(strings.ReplaceAll(name, "/", ":"), func(t *testing.T) {
			if c.results[name] != "PASS" {
				t.Errorf("%s in the guest: see its console above", c.results[name])
			}
		})
	}
}

// hostTree is the root file system of a host without a service manager.
func hostTree(t *testing.T, args string, legacy bool) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, from string) {
		if err := os.WriteFile(filepath.Join(root, name), read(t, from), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox := harness.BusyboxPath(t)
	put("bin/busybox", busybox)
	for applet := range strings.FieldsSeq(harness.Command(t, busybox, "--list")) {
		if applet != "busybox" {
			if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("init", harness.GoProgram(t, "tests/guest/init"))
	put("bin/rkt", harness.Program(t, "RKT_BIN", "rkt"))
	put("checks", checksProgram(t))
	put("netprobe", harness.GoProgram(t, "tests/functional/netprobe"))
	networkPrograms(t, root, legacy)
	link(t, "/run", filepath.Join(root, "var/run"))
	for name, text := range map[string]string{
		"checks.args": args, "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n",
		"etc/os-release": "ID=guest\n", "etc/hosts": "127.0.0.1\tlocalhost\n", "etc/resolv.conf": "",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// checksProgram builds the package of checks as a test program.
func checksProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "checks")
	t.Setenv("CGO_ENABLED", "0")
	harness.Command(t, "go", "test", "-c", "-tags", "guest", "-trimpath", "-ldflags", "-s -w", "-o", file, "./checks")
	return file
}
