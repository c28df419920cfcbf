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

// life is the life of the package on one host. Steps build on each other.
type life struct {
	*host
	first, second string // two revisions of the package
	pods          []*running
}

// running is a pod, and what it was before the upgrade.
type running struct {
	stage1, uuid, pid string
}

func TestLife(t *testing.T) {
	t.Parallel()
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "debootstrap")
	second := rebuild(t, "ITERATION=2", "PREBUILT=build man completions parts")
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
		{"pods", (*life).startPods},
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
	got := l.run("find", "/var/lib/rkt", "/etc/rkt", "/run/rkt", "-printf", "%p %m %u:%g\n")
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
	l.generator(t)
	l.run("test", "-s", "/usr/share/man/man1/rkt_image_list.1.gz")
}

// generator runs rkt as systemd does, by the name in its directory.
func (l *life) generator(t *testing.T) {
	l.run("cp", "/usr/share/doc/rkt/examples/web.pod", "/etc/rkt/pods.d/")
	l.run("mkdir", "/run/units")
	l.run("/usr/lib/systemd/system-generators/rkt-generator", "/run/units", "/run/units", "/run/units")
	if got := l.run("cat", "/run/units/web.service"); !strings.Contains(got, "\nExecStart=") || !strings.Contains(got, "/usr/bin/rkt") {
		t.Errorf("the generator wrote %s", got)
	}
	l.run("rm", "/etc/rkt/pods.d/web.pod")
}

// startPods starts a pod for each kind of supervisor: one with systemd and a
// network of its own, one with neither.
func (l *life) startPods(t *testing.T) {
	image := l.put(harness.Busybox(t, map[string]any{"exec": []string{"/bin/sh", "-c", "sleep 1000"}, "user": "0", "group": "0"}))
	l.run("rkt", "--insecure-options=image", "fetch", image)
	for stage1, net := range map[string]string{"coreos": "default", "fly": "host"} {
		p := &running{stage1: stage1}
		l.pods = append(l.pods, p)
		save := "/var/tmp/uuid-" + stage1
		cmd := l.command("rkt", "run", "--net="+net, "--uuid-file-save="+save, "--stage1-name=coreos.com/rkt/stage1-"+stage1, "example.com/busybox:1")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		up := harness.WaitFor(90*time.Second, func() bool {
			data, _ := os.ReadFile(l.root + save)
			p.uuid = strings.TrimSpace(string(data))
			return p.uuid != "" && l.status(p, "state") == "running" && l.status(p, "pid") != ""
		})
		if !up {
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("the pod of %s does not run: %s", stage1, out.String())
		}
		p.pid = l.status(p, "pid")
	}
}

// status is a line of rkt status.
func (l *life) status(p *running, key string) string {
	for line := range strings.Lines(l.run("rkt", "status", p.uuid)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return value
		}
	}
	return ""
}

// goOn checks that the pods are what they were, and answer.
func (l *life) goOn(t *testing.T) {
	t.Helper()
	for _, p := range l.pods {
		if state, pid := l.status(p, "state"), l.status(p, "pid"); state != "running" || pid != p.pid {
			t.Errorf("the pod of %s is %s with PID %s, was running with PID %s", p.stage1, state, pid, p.pid)
		}
		if out := l.run("rkt", "enter", p.uuid, "/bin/echo", "here"); !strings.Contains(out, "here") {
			t.Errorf("rkt enter into the pod of %s: %s", p.stage1, out)
		}
	}
}

// Pods do not notice that rkt is replaced.
func (l *life) upgrade(t *testing.T) {
	l.goOn(t)
	l.run("dpkg", "-i", l.second)
	if got := l.run("dpkg-query", "-W", "-f", "${Version}", "rkt"); !strings.HasSuffix(got, "-2") {
		t.Errorf("version %s is installed", got)
	}
	l.goOn(t)
}

func (l *life) refuse(t *testing.T) {
	for _, how := range []string{"--remove", "--purge"} {
		out := l.refuses("dpkg", how, "rkt")
		if !strings.Contains(out, "rkt/before-remove error: detected running containers.\n") {
			t.Errorf("dpkg %s says %s", how, out)
		}
		if got := l.run("dpkg-query", "-W", "-f", "${Status}", "rkt"); !strings.HasSuffix(got, " ok installed") {
			t.Errorf("after dpkg %s rkt is %q", how, got)
		}
		l.goOn(t)
	}
}

// links are the network interfaces, with numbers. /sys shows those of the machine.
func (l *life) links() string { return l.run("cat", "/proc/net/dev") }

// The new rkt ends and collects the pods of the old one.
func (l *life) collect(t *testing.T) {
	if links := l.links(); !strings.Contains(links, "veth") {
		t.Errorf("the pod has no network: %s", links)
	}
	for _, p := range l.pods {
		l.run("rkt", "stop", "--force", p.uuid)
		if !harness.WaitFor(60*time.Second, func() bool { return l.status(p, "state") != "running" }) {
			t.Fatalf("the pod of %s goes on", p.stage1)
		}
	}
}

func (l *life) images(t *testing.T) string {
	t.Helper()
	return l.run("rkt", "image", "list", "--no-legend", "--fields=name", "--sort=name")
}

func (l *life) remove(t *testing.T) {
	want := l.images(t)
	l.run("dpkg", "-r", "rkt")
	if out := l.run("find", "/var/lib/rkt/pods", "-mindepth", "2"); out != "" {
		t.Errorf("pods are left: %s", out)
	}
	if links := l.links(); strings.Contains(links, "veth") {
		t.Errorf("links of pods are left: %s", links)
	}
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
func (l *life) purge(*testing.T) {
	l.run("ln", "-s", "/var/tmp/precious", "/var/lib/rkt/cas/link")
	l.run("dpkg", "-P", "rkt")
	l.run("test", "-f", "/var/tmp/precious/file")
	for _, gone := range []string{"/var/lib/rkt", "/etc/rkt", "/run/rkt"} {
		l.run("test", "!", "-e", gone)
	}
}
