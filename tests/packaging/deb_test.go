// SPDX-License-Identifier: Apache-2.0

//go:build packaging

package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// deb is the package "make packaging" built.
func deb(t *testing.T) string {
	t.Helper()
	path := os.Getenv("RKT_DEB")
	if path == "" {
		t.Fatal("RKT_DEB names no package: run \"make packaging\"")
	}
	return path
}

// rebuild packs what PREBUILT does not name again, in another directory, with another umask and
// at another time.
func rebuild(t *testing.T, vars ...string) string {
	t.Helper()
	out := t.TempDir()
	args := []string{"-c", `umask 077; d=$1; shift; cd "$d" && exec make deb "$@"`, "sh", harness.Checkout(t)}
	args = append(args, "PACKAGES="+filepath.Join(out, "packages"), "DEBROOT="+filepath.Join(out, "another/root"))
	harness.Command(t, "sh", append(args, vars...)...)
	found, err := filepath.Glob(filepath.Join(out, "packages/*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("make deb made %v, %v", found, err)
	}
	return found[0]
}

func TestDebIsReproducible(t *testing.T) {
	testenv.NeedsProgram(t, "dpkg-deb")
	first, err := os.ReadFile(deb(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(rebuild(t, "PREBUILT=build"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) {
		t.Error("the same build gives two packages")
	}
}

func TestLintian(t *testing.T) {
	t.Parallel()
	testenv.NeedsProgram(t, "lintian")
	out := harness.Command(t, "lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0", deb(t))
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "E:") || strings.HasPrefix(line, "W:") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

// systemd finds nothing wrong with the units.
func TestUnits(t *testing.T) {
	t.Parallel()
	testenv.NeedsProgram(t, "systemd-analyze")
	root := t.TempDir()
	harness.Command(t, "dpkg-deb", "-x", deb(t), root)
	dir := filepath.Join(root, "usr/lib/systemd/system")
	units, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Those they refer to.
	harness.Command(t, "cp", "-a", "/usr/lib/systemd/system/.", dir)
	args := []string{"--root=" + root, "--man=no", "verify"}
	for _, e := range units {
		args = append(args, "/usr/lib/systemd/system/"+e.Name())
	}
	if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if len(units) < 4 {
		t.Errorf("the package has %d units", len(units))
	}
}
