// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// task is a program that a guest runs. Paths that start with a slash in Dir,
// Argv[0] and, behind a name of which Env sets a value, Env are those of the
// first disk, which is the root or /host: the guest puts that before them.
type task struct {
	Name string
	Dir  string
	Argv []string
	Env  []string
}

// tasksFile is on the first disk; the init program reads it.
const tasksFile = "tasks.json"

// hostTree is what every guest has on its first disk.
func hostTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"bin", "root", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeNew(t, root+"/init", read(t, harness.GoProgram(t, "tests/vm/init")), 0o755)
	writeNew(t, root+"/bin/rkt", read(t, harness.Program(t, "RKT_BIN", "rkt")), 0o755)
	writeNew(t, root+"/netprobe", read(t, harness.GoProgram(t, "tests/functional/netprobe")), 0o755)
	writeNew(t, root+"/activated", read(t, harness.GoProgram(t, "tests/functional/activated")), 0o755)
	return root
}

// bareTree makes of it the root of a host without a service manager.
func bareTree(t *testing.T, root string, old bool) {
	t.Helper()
	for _, dir := range []string{"dev", "etc", "proc", "run", "sys", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox := harness.BusyboxPath(t)
	writeNew(t, root+"/bin/busybox", read(t, busybox), 0o755)
	for applet := range strings.FieldsSeq(harness.Command(t, busybox, "--list")) {
		if applet != "busybox" {
			link(t, "busybox", filepath.Join(root, "bin", applet))
		}
	}
	networkPrograms(t, root, old)
	link(t, "/run", filepath.Join(root, "var/run"))
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n",
		"etc/os-release": "ID=guest\n", "etc/hosts": "127.0.0.1\tlocalhost\n", "etc/resolv.conf": "",
	} {
		writeNew(t, filepath.Join(root, name), []byte(text), 0o644)
	}
}

// hostDisk makes the first disk of a tree and tasks.
func hostDisk(t *testing.T, root string, tasks ...task) string {
	t.Helper()
	data, err := json.Marshal(tasks)
	if err != nil {
		t.Fatal(err)
	}
	writeNew(t, filepath.Join(root, tasksFile), data, 0o644)
	file := filepath.Join(t.TempDir(), "disk")
	makeImage(t, root, file, "6G")
	return file
}
