// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// release is one of Debian's.
type release struct{ codename, number string }

var (
	debian12 = release{"bookworm", "12"}
	debian13 = release{"trixie", "13"}
)

// tasksUnit runs the tasks when the system is up. It has other processes than
// rkt in its cgroup and no limits: to rkt it looks like a session.
const tasksUnit = `[Unit]
Description=Tasks
After=dbus.service systemd-machined.service systemd-journald.service

[Service]
Type=oneshot
ExecStart=/host/init
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
TasksMax=infinity
TimeoutStartSec=infinity
`

// masked are units that only take time here.
const masked = "getty.target serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer " +
	"e2scrub_all.timer fstrim.timer systemd-networkd.service systemd-tmpfiles-clean.timer systemd-pcrphase.service logrotate.timer man-db.timer"

// Packages of a Debian host besides the essentials: what the checks use, and
// what the functional tests use in addition.
const (
	checkPackages = "systemd-sysv systemd-container dbus kmod busybox-static iproute2 iptables nftables procps"
	suitePackages = checkPackages + " gpg gpg-agent gpgconf dnsmasq-base curl bzip2 xz-utils zstd attr libcap2-bin ca-certificates e2fsprogs util-linux"
)

// disk is an image of a Debian with systemd as PID 1 that runs the tasks. It
// is made anew when what goes into it has changed.
func (r release) disk(t *testing.T, k kernel, packages string) string {
	t.Helper()
	const made = "2" // how the image is made: count up when that changes
	sum := sha256.Sum256([]byte(strings.Join([]string{made, r.codename, packages, tasksUnit, masked, k.version}, "\x00")))
	prefix := "vm-disk-" + r.codename + "-"
	name := prefix + hex.EncodeToString(sum[:6])
	dir := harness.Cached(t, name, func(dir string) {
		root := filepath.Join(dir, "root")
		r.tree(t, k, packages, root)
		defer phase(t, "the image of Debian "+r.number)()
		makeImage(t, root, filepath.Join(dir, "disk"), "3G")
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	})
	return filepath.Join(dir, "disk")
}

// tree makes the directory that becomes the image.
func (r release) tree(t *testing.T, k kernel, packages, root string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	r.debootstrap(t, packages, root)
	units := filepath.Join(root, "etc/systemd/system")
	writeNew(t, filepath.Join(units, "tasks.service"), []byte(tasksUnit), 0o644)
	wants := filepath.Join(units, "multi-user.target.wants")
	// The journal is kept: that is what links to the journals of pods need.
	for _, dir := range []string{wants, root + "/host", root + "/var/log/journal"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t, "/etc/systemd/system/tasks.service", filepath.Join(wants, "tasks.service"))
	for unit := range strings.FieldsSeq(masked) {
		link(t, "/dev/null", filepath.Join(units, unit))
	}
	modules := filepath.Join(root, "usr/lib/modules")
	if err := os.MkdirAll(modules, 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Command(t, "cp", "-a", k.tree, modules)
	harness.Command(t, "chroot", root, "/sbin/depmod", k.version)
}

// debootstrap makes a directory of the release, which need not be this machine's,
// from the mirror that apt uses.
func (r release) debootstrap(t *testing.T, packages, root string) {
	t.Helper()
	defer phase(t, "debootstrap of Debian "+r.number)()
	debs := filepath.Join(harness.CacheDir(t), "debs-"+r.codename)
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"--mount", "debootstrap", "--variant=minbase", "--cache-dir=" + debs, "--include=" + strings.ReplaceAll(packages, " ", ","), r.codename, root}
	args = append(args, mirror(t))
	harness.Command(t, "unshare", args...) // it mounts /proc in the new root
	for _, p := range []string{"var/cache/apt/archives", "var/lib/apt/lists"} {
		harness.Command(t, "find", filepath.Join(root, p), "-type", "f", "-delete")
	}
}

// apt prepares to ask apt about the release, apart from this machine's own
// sources and state. What it returns completes a command line.
func (r release) apt(t *testing.T) func(args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	writeNew(t, filepath.Join(dir, "sources.list"), []byte("deb [signed-by="+keyring+"] "+mirror(t)+" "+r.codename+" main\n"), 0o644)
	options := []string{
		"-qq", "-o", "Dir::Etc::sourcelist=" + dir + "/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::lists=" + dir + "/lists", "-o", "Dir::State::status=/dev/null", "-o", "Dir::Cache=" + dir, "-o", "APT::Sandbox::User=root",
	}
	complete := func(args ...string) []string { return append(options[:len(options):len(options)], args...) }
	harness.Command(t, "apt-get", complete("update")...)
	return complete
}

// mirror is that of the first of Debian's own releases that apt knows.
func mirror(t *testing.T) string {
	t.Helper()
	out := harness.Command(t, "apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
	for line := range strings.Lines(out) {
		if name, uri, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.Contains(name, "-") {
			return uri
		}
	}
	return "http://deb.debian.org/debian"
}

// phase tells how long something took whose time counts on a new machine.
func phase(t *testing.T, what string) (end func()) {
	t.Helper()
	start := time.Now()
	t.Logf("making %s (once; kept in %s)", what, harness.CacheDir(t))
	return func() { t.Logf("%s: %.0f s", what, time.Since(start).Seconds()) }
}
