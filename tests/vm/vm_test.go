// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestUnified runs the checks on a host that has cgroup v2 alone.
func TestUnified(t *testing.T) {
	bare(t, unified, "^TestUnified$")
}

// TestLegacy runs them on one that has cgroup v1 alone, and no nf_tables.
func TestLegacy(t *testing.T) {
	bare(t, legacy, "^TestLegacy$")
}

// TestDebian12 runs those on Debian 12, with its kernel, whose PID 1 is systemd.
func TestDebian12(t *testing.T) { debian(t, debian12, "^TestSystemd$") }

// TestDebian13 runs them on Debian 13.
func TestDebian13(t *testing.T) { debian(t, debian13, "^TestSystemd$") }

// TestSuite12 runs the functional tests of pods and networks on Debian 12.
func TestSuite12(t *testing.T) { suite(t, debian12) }

// TestSuite13 runs them on Debian 13.
func TestSuite13(t *testing.T) { suite(t, debian13) }

// TestReboot12 reboots Debian 12 with pods running, in order and not.
func TestReboot12(t *testing.T) { reboot(t, debian12) }

// TestReboot13 does that to Debian 13.
func TestReboot13(t *testing.T) { reboot(t, debian13) }

// TestShort runs on Debian 12 what a few minutes are enough for: pods as
// services, with limits and networks, and what systemd knows of them.
func TestShort(t *testing.T) {
	debian(t, debian12, "^TestSystemd$/^(session|machinectl|service|notify|journal|netservice)$")
}

func needsTools(t *testing.T) {
	t.Helper()
	testenv.NeedsRoot(t)
	for _, name := range []string{"qemu-system-x86_64", "debootstrap", "mke2fs"} {
		testenv.NeedsProgram(t, name)
	}
}

// bare runs checks on a host without a service manager, with Debian 12's kernel.
func bare(t *testing.T, host, run string) {
	t.Helper()
	needsTools(t)
	m := machine{host: host, kernel: debian12.kernel(t)}
	root := hostTree(t)
	bareTree(t, root, host == legacy)
	m.disk = hostDisk(t, root, checksTask(t, root, host, run))
	report(t, m.run(t), "checks")
}

// debian runs checks on a Debian.
func debian(t *testing.T, r release, run string) {
	t.Helper()
	needsTools(t)
	m := machine{host: systemd, kernel: r.kernel(t)}
	m.debian = r.disk(t, m.kernel, checkPackages)
	root := hostTree(t)
	m.disk = hostDisk(t, root, checksTask(t, root, systemd, run))
	report(t, m.run(t), "checks")
}

// suite runs functional tests on a Debian.
func suite(t *testing.T, r release) {
	t.Helper()
	needsTools(t)
	m := machine{host: systemd, kernel: r.kernel(t)}
	m.debian = r.disk(t, m.kernel, suitePackages)
	root := hostTree(t)
	tasks := suiteTasks(t, root)
	m.disk = hostDisk(t, root, tasks...)
	var names []string
	for _, task := range tasks {
		names = append(names, task.Name)
	}
	report(t, m.run(t), names...)
}

// reboot starts pods on a Debian, and looks after them when it has been
// rebooted; each boot is a run of qemu, on the same disks.
func reboot(t *testing.T, r release) {
	t.Helper()
	needsTools(t)
	m := machine{host: systemd, kernel: r.kernel(t), keep: true}
	m.debian = copyDisk(t, r.disk(t, m.kernel, checkPackages))
	root := hostTree(t)
	m.disk = hostDisk(t, root, checksTask(t, root, systemd, "^TestReboot$"))
	for _, boot := range []string{"first boot", "after a reboot", "after a crash"} {
		t.Run(boot, func(t *testing.T) { report(t, m.run(t), "checks") })
	}
}

// runEnv restricts the checks further, as go test -run does: /memory.
const runEnv = "RKT_VM_RUN"

// report makes a test of each of the guest's.
func report(t *testing.T, c console, tasks ...string) {
	t.Helper()
	for _, name := range tasks {
		if !slices.Contains(c.tasks, name) {
			t.Errorf("the guest has not run its task %q to the end", name)
		}
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

// checksTask puts the package of checks into a host's tree.
func checksTask(t *testing.T, root, host, run string) task {
	t.Helper()
	buildTest(t, "vm", "./checks", root+"/checks")
	return task{
		Name: "checks", Dir: "/root",
		Argv: []string{"/checks", "-test.v", "-test.timeout=" + patience.String(), "-test.run=" + run + os.Getenv(runEnv)},
		Env:  []string{"RKT_NETPROBE=/netprobe", "RKT_ACTIVATED=/activated", "RKT_VM_DISK=/", "RKT_VM=" + host},
	}
}

// buildTest builds a package as a test program.
func buildTest(t *testing.T, tag, pkg, file string) {
	t.Helper()
	t.Setenv("CGO_ENABLED", "0")
	harness.Command(t, "go", "test", "-c", "-tags", tag, "-trimpath", "-ldflags", "-s -w", "-o", file, pkg)
}
