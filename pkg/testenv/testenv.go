// SPDX-License-Identifier: Apache-2.0

// Package testenv states what a test needs from the machine. A need that is
// not met skips the test with a reason a person can act on, unless
// RKT_TEST_MUSTRUN lists it (comma separated, or "all"): then the test fails,
// so that CI cannot go quietly green.
package testenv

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// NeedsRoot is for tests that chown, mount or make device nodes.
func NeedsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root", "run the tests as root")
	}
}

// NeedsOverlay is for tests that mount overlayfs.
func NeedsOverlay(t testing.TB) {
	t.Helper()
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(data), "nodev\toverlay\n") {
		missing(t, "overlay", "load the overlay module")
	}
}

// NeedsProgram is for tests that compare with a program of the distribution.
func NeedsProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, "install it with \"make deps\"")
	}
	return path
}

func missing(t testing.TB, need, remedy string) {
	t.Helper()
	must := strings.Split(os.Getenv("RKT_TEST_MUSTRUN"), ",")
	if slices.Contains(must, need) || slices.Contains(must, "all") {
		t.Fatalf("needs %s: %s", need, remedy)
	}
	t.Skipf("needs %s: %s", need, remedy)
}
