// SPDX-License-Identifier: Apache-2.0

//go:build guest

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// checksUnit runs the checks when the system is up. It has other processes than
// rkt in its cgroup and no limits: to rkt it looks like a session.
const checksUnit = `[Unit]
Description=Checks
After=dbus.service systemd-machined.service

[Service]
Type=oneshot
ExecStart=/host/init
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
TasksMax=infinity
TimeoutStartSec=infinity
`

// debianPackages is what the host has besides the essentials.
var debianPackages = []string{"systemd-sysv", "systemd-container", "dbus", "busybox-static", "iproute2", "iptables", "nftables"}

// debianDisk is an image of a small Debian with systemd, D-Bus, systemd-machined
// and programs for networks that runs the checks.
func debianDisk(t *testing.T, release string) string {
	t.Helper()
	dir := harness.Cached(t, "guest-disk-"+release, func(dir string) {
		t.Logf("making a Debian %s for a guest (once; kept in %s)", release, harness.CacheDir(t))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(dir, "root")
		debootstrap(t, release, root)
		unit := filepath.Join(root, "etc/systemd/system/checks.service")
		if err := os.WriteFile(unit, []byte(checksUnit), 0o644); err != nil {
			t.Fatal(err)
		}
		wants := filepath.Join(root, "etc/systemd/system/multi-user.target.wants")
		if err := os.MkdirAll(wants, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/systemd/system/checks.service", filepath.Join(wants, "checks.service")); err != nil {
			t.Fatal(err)
		}
		for _, unit := range strings.Fields("getty.target serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd.service systemd-tmpfiles-clean.timer") {
			if err := os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system", unit)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(root, "host"), 0o755); err != nil {
			t.Fatal(err)
		}
		harness.Command(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-d", root, filepath.Join(dir, "disk"), "1G")
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	})
	return filepath.Join(dir, "disk")
}

// debootstrap makes a directory of a release, which need not be this machine's,
// from the mirror that apt uses.
func debootstrap(t *testing.T, release, root string) {
	t.Helper()
	debs := filepath.Join(harness.CacheDir(t), "debs-"+release)
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"--mount", "debootstrap", "--variant=minbase", "--cache-dir=" + debs, "--include=" + strings.Join(debianPackages, ","), release, root}
	if m := mirror(t); m != "" {
		args = append(args, m)
	}
	harness.Command(t, "unshare", args...) // it mounts /proc in the new root
	for _, p := range []string{"var/cache/apt/archives", "var/lib/apt/lists"} {
		harness.Command(t, "find", filepath.Join(root, p), "-type", "f", "-delete")
	}
}

// mirror is the first of Debian's own releases that apt knows, "" if it knows none.
func mirror(t *testing.T) string {
	t.Helper()
	out := harness.Command(t, "apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
	for line := range strings.Lines(out) {
		if name, uri, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.Contains(name, "-") {
			return uri
		}
	}
	return ""
}
