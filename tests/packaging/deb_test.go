// SPDX-License-Identifier: Apache-2.0

//go:build packaging

package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// rebuild packs the build again, with another umask and at another time.
func rebuild(t *testing.T, vars ...string) string {
	t.Helper()
	out := t.TempDir()
	harness.Command(t, "sh", append([]string{"-c", `umask 077; d=$1; shift; cd "$d" && exec make -o build -o stage1 deb "$@"`, "sh", harness.Checkout(t), "PACKAGES=" + out}, vars...)...)
	found, err := filepath.Glob(filepath.Join(out, "*.deb"))
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
	again, err := os.ReadFile(rebuild(t))
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(again) {
		t.Error("the same build gives two packages")
	}
}

func TestLintian(t *testing.T) {
	testenv.NeedsProgram(t, "lintian")
	out := harness.Command(t, "lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0", deb(t))
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "E:") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

// life is the life of the package on one host. Steps build on each other.
type life struct {
	*host
	first, second string // two revisions of the package
	uuid          string // of the pod
}

func TestLife(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "debootstrap")
	second := rebuild(t, "ITERATION=2")
	h := newHost(t)
	l := &life{host: h}
	skip := harness.ScanOptions{SkipDirTimes: true, Skip: volatile()}
	before := harness.Scan(t, h.root, skip)
	l.first, l.second = h.put(deb(t)), h.put(second)
	for _, step := range []struct {
		name string
		do   func(*life, *testing.T)
	}{
		{"install", (*life).install},
		{"pod", (*life).startPod},
		{"upgrade", (*life).upgrade},
		{"refuse removal", (*life).refuse},
		{"collect", (*life).collect},
		{"remove", (*life).remove},
		{"install again", (*life).again},
		{"refuse purge", (*life).refusePurge},
		{"purge", (*life).purge},
	} {
		if !t.Run(step.name, func(t *testing.T) { h.t = t; step.do(l, t) }) {
			return
		}
	}
	h.t = t
	h.run("rm", "-r", "/var/tmp")
	h.run("install", "-d", "-m", "1777", "/var/tmp")
	harness.CompareTrees(t, "before installation", before, "after purge", harness.Scan(t, h.root, skip))
}

// volatile is what dpkg and the groups, which stay, change.
func volatile() []string {
	return []string{
		"var/lib/dpkg", "var/log", "var/cache", "etc/group", "etc/group-", "etc/gshadow", "etc/gshadow-",
		"etc/passwd-", "etc/shadow-", "etc/.pwd.lock", "etc/subgid-", "etc/subuid-",
	}
}

func (l *life) install(t *testing.T) {
	l.run("dpkg", "-i", l.first)
	got := l.run("find", "/var/lib/rkt", "/etc/rkt", "-printf", "%p %m %u:%g\n")
	for _, want := range directories(t) {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if _, err := os.Lstat(filepath.Join(l.root, "etc/systemd/system/timers.target.wants/rkt-gc.timer")); err != nil {
		t.Errorf("the timer is not enabled: %v", err)
	}
	if wants := l.run("find", "/etc/systemd/system", "-name", "rkt-*.service", "-o", "-name", "rkt-*.socket"); wants != "" {
		t.Errorf("enabled: %s", wants)
	}
	l.run("rkt", "version")
	l.run("test", "-s", "/usr/share/man/man1/rkt_image_list.1.gz")
}

func (l *life) startPod(t *testing.T) {
	image := l.put(harness.Busybox(t, map[string]any{"exec": []string{"/bin/sh", "-c", "sleep 1000"}, "user": "0", "group": "0"}))
	l.run("rkt", "--insecure-options=image", "fetch", image)
	cmd := l.command("rkt", "run", "--net=none", "--uuid-file-save=/var/tmp/uuid", "--stage1-name=coreos.com/rkt/stage1-fly", "example.com/busybox:1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	running := func() bool {
		data, _ := os.ReadFile(l.root + "/var/tmp/uuid")
		l.uuid = strings.TrimSpace(string(data))
		return l.uuid != "" && strings.Contains(l.run("rkt", "status", l.uuid), "state=running")
	}
	if !harness.WaitFor(60*time.Second, running) {
		t.Fatalf("the pod does not run: %q", l.uuid)
	}
}

func (l *life) state(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(l.run("rkt", "status", l.uuid)) {
		if state, ok := strings.CutPrefix(strings.TrimSpace(line), "state="); ok {
			return state
		}
	}
	return ""
}

// A pod does not notice that rkt is replaced.
func (l *life) upgrade(t *testing.T) {
	l.run("dpkg", "-i", l.second)
	if got := l.run("dpkg-query", "-W", "-f", "${Version}", "rkt"); !strings.HasSuffix(got, "-2") {
		t.Errorf("version %s is installed", got)
	}
	if got := l.state(t); got != "running" {
		t.Errorf("the pod is %s", got)
	}
}

func (l *life) refuse(t *testing.T) {
	out := l.refuses("dpkg", "-r", "rkt")
	if !strings.Contains(out, "rkt/before-remove error: detected running containers.\n") {
		t.Errorf("removal says %s", out)
	}
	if got := l.run("dpkg-query", "-W", "-f", "${Status}", "rkt"); got != "install ok installed" && !strings.HasSuffix(got, "ok installed") {
		t.Errorf("rkt is %q", got)
	}
	if got := l.state(t); got != "running" {
		t.Errorf("the pod is %s", got)
	}
}

// The new rkt ends and collects the pod of the old one.
func (l *life) collect(t *testing.T) {
	l.run("rkt", "stop", "--force", l.uuid)
	if !harness.WaitFor(30*time.Second, func() bool { return l.state(t) != "running" }) {
		t.Fatal("the pod goes on")
	}
	l.run("rkt", "gc", "--grace-period=0s")
	if out := strings.TrimSpace(l.run("rkt", "list", "--no-legend")); out != "" {
		t.Errorf("pods are left: %s", out)
	}
}

func (l *life) images(t *testing.T) string {
	t.Helper()
	return l.run("rkt", "image", "list", "--no-legend", "--fields=name", "--sort=name")
}

func (l *life) remove(t *testing.T) {
	want := l.images(t)
	l.run("dpkg", "-r", "rkt")
	for _, gone := range []string{"usr/bin/rkt", "usr/lib/systemd/system/rkt-gc.timer", "lib/systemd/system/rkt-gc.timer"} {
		if _, err := os.Lstat(filepath.Join(l.root, gone)); err == nil {
			t.Errorf("%s is left", gone)
		}
	}
	l.run("dpkg", "-i", l.first)
	if got := l.images(t); got != want || want == "" {
		t.Errorf("images were %q, are %q", want, got)
	}
}

func (l *life) again(*testing.T) {
	l.run("dpkg", "-i", l.first)
	l.run("dpkg", "-r", "rkt")
	l.run("test", "-d", "/var/lib/rkt/cas")
}

// What is mounted below the data directory is not the package's to delete.
func (l *life) refusePurge(t *testing.T) {
	l.run("mkdir", "-p", "/var/tmp/precious", "/var/lib/rkt/cas/tmp/m")
	l.run("touch", "/var/tmp/precious/file")
	l.run("mount", "--bind", "/var/tmp/precious", "/var/lib/rkt/cas/tmp/m")
	if out := l.refuses("dpkg", "-P", "rkt"); !strings.Contains(out, "rkt: there are mounts below /var/lib/rkt, nothing of it was deleted") {
		t.Errorf("purge says %s", out)
	}
	l.run("test", "-f", "/var/tmp/precious/file")
	l.run("test", "-d", "/var/lib/rkt/cas")
	l.run("umount", "/var/lib/rkt/cas/tmp/m")
}

// A data directory that leads elsewhere is not followed.
func (l *life) purge(t *testing.T) {
	l.run("ln", "-s", "/var/tmp/precious", "/var/lib/rkt/cas/link")
	l.run("dpkg", "-P", "rkt")
	l.run("test", "-f", "/var/tmp/precious/file")
	for _, gone := range []string{"var/lib/rkt", "etc/rkt"} {
		if _, err := os.Lstat(filepath.Join(l.root, gone)); err == nil {
			t.Errorf("%s is left", gone)
		}
	}
}
