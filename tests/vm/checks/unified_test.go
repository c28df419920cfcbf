// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// eat are the arguments of a program that needs this much memory at once.
func eat(size string) []string {
	return []string{"if=/dev/zero", "of=/dev/null", "bs=" + size, "count=1"}
}

// TestUnified: pods on a host with cgroup v2 alone and no service manager.
func TestUnified(t *testing.T) {
	only(t, "unified")
	h := newHost(t)
	h.check("start", (*host).start2)
	h.check("limits", (*host).limits)
	h.check("weight", (*host).weight)
	h.check("memory", (*host).memory)
	h.check("tight", (*host).tight)
	h.check("pids", (*host).pids)
	h.check("devices", (*host).devices)
	h.check("stop", (*host).stop)
	h.check("kill", (*host).kill)
	h.check("users", (*host).users)
	h.check("mutable", (*host).mutable)
	h.check("inside", (*host).inside)
	h.check("shared", (*host).shared)
	h.check("network", (*host).network)
	h.check("fly", (*host).fly)
}

// start2: two apps, what they print, how the pod ends, what stays until gc.
func (h *host) start2() {
	r := h.Run("run", "--net=none", "--uuid-file-save="+h.dir+"/uuid",
		h.image, "--name=one", "--exec=/bin/sh", "--", "-c", "echo of one; cat /proc/self/cgroup", "---",
		h.image, "--name=two", "--exec=/bin/sh", "--", "-c", "cat /proc/self/cgroup; sleep 1; echo to stderr >&2; exit 3")
	if r.Status != 3 {
		h.t.Errorf("%s", r)
	}
	one, two := harness.AppOutput(r.Stdout, "one"), harness.AppOutput(r.Stdout, "two")
	if !strings.HasPrefix(one, "of one\n") || !strings.Contains(one, ":/system.slice/one.service\n") || !strings.Contains(two, ":/system.slice/two.service\n") || !strings.HasSuffix(two, "\nto stderr\n") {
		h.t.Errorf("%q, %q: %s", one, two, r)
	}
	if kind == "unified" && one != "of one\n0::/system.slice/one.service\n" {
		h.t.Errorf("%q", one)
	}
	uuid := h.uuid()
	name := `machine-rkt\x2d` + strings.ReplaceAll(uuid, "-", `\x2d`) + ".scope"
	if got := h.subcgroup(uuid); got != name {
		h.t.Errorf("subcgroup %q, want %q", got, name)
	}
	if left := harness.Cgroups([]string{uuid}); len(left) == 0 {
		h.t.Errorf("the cgroup of a pod that has ended is gone before gc")
	}
	if e := h.exit(uuid, "two"); e.Code != 3 || e.Signal != 0 || e.OOMKilled {
		h.t.Errorf("%+v", e)
	}
	h.collect()
}

// limits: what is set where, and that enter is under the same.
func (h *host) limits() {
	p := h.start(h.one("echo ready; exec sleep 1000", "--memory=42Mi", "--cpu=900m", "--cpu-shares=512", "--pids-limit=20", "--oom-score-adj=123")...)
	want := map[string]string{"memory.max": "44040192", "cpu.max": "90000 100000", "cpu.weight": "20", "pids.max": "20"}
	if kind == "legacy" {
		want = map[string]string{"memory.limit_in_bytes": "44040192", "cpu.cfs_quota_us": "90000", "cpu.shares": "512", "pids.max": "20"}
	}
	for file, want := range want {
		if got := h.control(p.UUID, "app", file); got != want {
			h.t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	const facts = "cat /proc/self/cgroup /proc/self/oom_score_adj; grep -E '^(Cap|Seccomp|NoNew)' /proc/self/status"
	own := h.OK("enter", p.UUID, "/bin/sh", "-c", facts)
	if !strings.Contains(own, "app.service\n") || !strings.Contains(own, "\n123\n") || !strings.Contains(own, "Seccomp:\t2") {
		h.t.Errorf("of an entered process: %s", own)
	}
	app := strings.Fields(h.control(p.UUID, "app", "cgroup.procs"))
	status, groups := read(h.t, "/proc/"+app[0]+"/status"), h.OK("enter", p.UUID, "/bin/cat", "/proc/1/cgroup", "/proc/2/cgroup")
	for line := range strings.Lines(own) {
		if strings.HasPrefix(line, "Cap") && !strings.Contains(status, line) || strings.Contains(line, ":/") && !strings.Contains(groups, line) {
			h.t.Errorf("an entered process has %q, the app has not: %s, %s", line, status, groups)
		}
	}
	h.devicesClosed(func(script string) harness.Result { return h.Run("enter", p.UUID, "/bin/sh", "-c", script) })
	h.OK("stop", p.UUID)
	if r := p.Wait(); r.Status != 0 {
		h.t.Errorf("a stopped pod: %s", r)
	}
	if e := h.exit(p.UUID, "app"); e.Signal != int(syscall.SIGTERM) {
		h.t.Errorf("%+v", e)
	}
}

// weight: of block devices, which Debian's kernel has on v2 only.
func (h *host) weight() {
	p := h.start(h.one("echo ready; exec sleep 1000", "--io-weight=50")...)
	if got := h.control(p.UUID, "app", "io.weight"); got != "default 50" {
		h.t.Errorf("io.weight is %q", got)
	}
	h.OK("stop", p.UUID)
	p.Wait()
}

// memory: the limit of one app kills in it, and in no other.
func (h *host) memory() {
	r := h.Run(h.app(nil, []string{"--memory=32Mi"}, "/bin/dd", eat("256M")...)...)
	if e := h.exit(h.uuid(), "app"); r.Status != 9 || e.Signal != 9 || !e.OOMKilled {
		h.t.Errorf("256 MiB under a limit of 32: %+v, %s", e, r)
	}
	r = h.Run("run", "--net=none", "--uuid-file-save="+h.dir+"/two",
		h.image, "--name=tight", "--memory=32Mi", "--exec=/bin/sh", "--", "-c", "dd if=/dev/zero of=/dev/null bs=256M count=1; echo $?; sleep 2; echo goes on", "---",
		h.image, "--name=wide", "--memory=512Mi", "--exec=/bin/dd", "--", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1")
	uuid := read(h.t, h.dir+"/two")
	if got := harness.AppOutput(r.Stdout, "tight"); r.Status != 0 || !strings.Contains(got, "137\n") || !strings.Contains(got, "goes on\n") {
		h.t.Errorf("a child is killed, its parent goes on: %s", r)
	}
	if tight, wide := h.exit(uuid, "tight"), h.exit(uuid, "wide"); !tight.OOMKilled || wide.OOMKilled {
		h.t.Errorf("%+v, %+v", tight, wide)
	}
}

// tight: the smallest limit is enough for a small static program.
func (h *host) tight() {
	if r := h.Run(h.app(nil, []string{"--memory=4Mi"}, "/bin/true")...); r.Status != 0 {
		h.t.Errorf("%s", r)
	}
}

// pids: forking past the limit fails.
func (h *host) pids() {
	r := h.Run(h.one("i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all", "--pids-limit=10")...)
	if r.Status == 0 || !strings.Contains(r.Stdout, "can't fork") {
		h.t.Errorf("40 processes under a limit of 10: %s", r)
	}
}

// devicesClosed tries devices that nobody has, and some that everybody has.
func (h *host) devicesClosed(run func(script string) harness.Result) {
	h.t.Helper()
	r := run("mknod /tmp/disk b 254 0 || echo no block; mknod /tmp/kmsg c 1 11 || echo no kmsg; mknod /tmp/null c 1 3 && echo x >/tmp/null && rm /tmp/null && echo null")
	if got := r.Stdout; !strings.Contains(got, "no block") || !strings.Contains(got, "no kmsg") || !strings.Contains(got, "null") || r.Status != 0 {
		h.t.Errorf("%s", r)
	}
}

// devices: the policy is enforced in the app's cgroup, and volumes are exceptions.
func (h *host) devices() {
	h.devicesClosed(func(script string) harness.Result { return h.Run(h.one(script)...) })
	r := h.Run(h.app([]string{"--volume=k,kind=host,source=/dev/kmsg,readOnly=true"}, []string{"--mount=volume=k,target=/dev/log-of-the-kernel", "--caps-retain=CAP_SYSLOG"},
		"/bin/sh", "-c", "head -c 1 /dev/log-of-the-kernel >/dev/null && echo read; (echo x >/dev/log-of-the-kernel) 2>/dev/null || echo not written")...)
	if got := harness.AppOutput(r.Stdout, "app"); got != "read\nnot written\n" || r.Status != 0 {
		h.t.Errorf("a device as volume: %q: %s", got, r)
	}
}

// stop: a busy loop is throttled, ignores SIGTERM and is stopped by force.
func (h *host) stop() {
	p := h.start(h.one("trap '' TERM; echo ready; while :; do :; done", "--cpu=100m")...)
	eventually(h.t, "throttled three times", func() bool {
		return value(h.t, h.control(p.UUID, "app", "cpu.stat"), "nr_throttled") >= 3
	})
	h.OK("stop", "--force", p.UUID)
	p.Wait()
	if n := h.populated(p.UUID); n != 0 {
		h.t.Errorf("%d processes are left in the cgroup of a pod that was stopped by force", n)
	}
	h.collect()
}

// kill: a pod does not outlive its supervisor.
func (h *host) kill() {
	p := h.start(h.one("echo ready; exec sleep 1001")...)
	if programs("sleep", "1001") != 1 {
		h.t.Errorf("the app is not to be found")
	}
	p.Signal(syscall.SIGKILL)
	p.Wait()
	eventually(h.t, "the app is gone", func() bool { return programs("sleep", "1001") == 0 })
	eventually(h.t, "the pod has exited", func() bool { return h.Status(p.UUID)["state"] == "exited" })
	h.collect()
}

// users: a pod in a user namespace has limits, devices and its own cgroup.
func (h *host) users() {
	volume := h.t.TempDir()
	write(h.t, volume+"/file", "of the host\n")
	r := h.Run(h.app([]string{"--private-users", "--volume=v,kind=host,source=" + volume}, []string{"--mount=volume=v,target=/v", "--memory=64Mi"}, "/bin/sh", "-c",
		"id -u; cut -c1-20 /proc/self/uid_map; stat -c %u /bin/busybox /v /v/file; echo made >/v/made; cat /v/file")...)
	got := strings.Fields(harness.AppOutput(r.Stdout, "app"))
	if r.Status != 0 || len(got) != 9 || got[0] != "0" || got[2] == "0" || strings.Join(got[3:], " ") != "0 0 0 of the host" {
		h.t.Errorf("%q: %s", got, r)
	}
	st, err := os.Stat(volume + "/made")
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		h.t.Errorf("what root of the pod makes in a volume: %+v, %v", st, err)
	}
	p := h.start(h.app([]string{"--private-users"}, []string{"--memory=48Mi"}, "/bin/sh", "-c", "echo ready; exec sleep 1000")...)
	if got := h.control(p.UUID, "app", memoryMax()); got != "50331648" {
		h.t.Errorf("limit of memory: %q", got)
	}
	if got := h.OK("enter", p.UUID, "/bin/cat", "/proc/self/cgroup"); !strings.Contains(got, ":/system.slice/app.service\n") {
		h.t.Errorf("enter: %q", got)
	}
	h.OK("stop", p.UUID)
	p.Wait()
	h.collect()
}

// mutable: apps that come and go in a running pod are under their limits.
func (h *host) mutable() {
	p := h.Start("app", "sandbox", "--net=none", "--uuid-file-save="+h.dir+"/uuid")
	eventually(h.t, "the pod is ready", func() bool {
		b, err := os.ReadFile(h.dir + "/uuid")
		return err == nil && h.Run("status", "--wait-ready=1s", string(b)).Status == 0
	})
	uuid := h.uuid()
	h.OK("app", "add", uuid, h.image, "--name=eater", "--memory=32Mi", "--exec=/bin/dd", "--", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1")
	h.OK("app", "add", uuid, h.image, "--name=sleeper", "--memory=24Mi", "--pids-limit=7", "--exec=/bin/sleep", "--", "1000")
	h.OK("app", "start", uuid, "--app=sleeper")
	for file, want := range map[string]string{memoryMax(): "25165824", "pids.max": "7"} {
		if got := h.control(uuid, "sleeper", file); got != want {
			h.t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	h.OK("app", "start", uuid, "--app=eater")
	eventually(h.t, "the app has ended", func() bool {
		found, _ := filepath.Glob(filepath.Join(h.PodDir(uuid), "overlay/*/upper/rkt/status/eater"))
		return len(found) == 1
	})
	if e := h.exit(uuid, "eater"); e.Signal != 9 || !e.OOMKilled {
		h.t.Errorf("%+v", e)
	}
	if got := h.OK("app", "exec", "--app=sleeper", uuid, "/bin/cat", "/proc/self/cgroup"); !strings.Contains(got, "/system.slice/sleeper.service") {
		h.t.Errorf("app exec: %q", got)
	}
	h.OK("app", "stop", uuid, "--app=sleeper")
	h.OK("app", "rm", uuid, "--app=sleeper")
	h.OK("app", "rm", uuid, "--app=eater")
	h.OK("stop", uuid)
	p.Wait()
	h.collect()
}

// inside: rkt is the only process of a cgroup that has a limit, as in a service:
// the limit binds, and apps can have limits of their own below it.
func (h *host) inside() {
	write(h.t, mount+"/cgroup.subtree_control", "+memory +pids +cpu +io")
	group := makeGroup(h.t, mount+"/service")
	write(h.t, group+"/memory.max", "100663296") // 96 MiB
	r := h.runIn(group, h.app(nil, nil, "/bin/dd", eat("256M")...)...)
	if e := h.exit(h.uuid(), "app"); r.Status != 9 || !e.OOMKilled {
		h.t.Errorf("256 MiB in a cgroup of 96: %+v, %s", e, r)
	}
	if got := h.subcgroup(h.uuid()); !strings.HasPrefix(got, `service/machine-rkt\x2d`) {
		h.t.Errorf("subcgroup %q", got)
	}
	h.collect()
	r = h.runIn(group, h.app(nil, []string{"--memory=32Mi"}, "/bin/dd", eat("64M")...)...)
	if e := h.exit(h.uuid(), "app"); r.Status != 9 || !e.OOMKilled {
		h.t.Errorf("64 MiB under a limit of 32 in a cgroup of 96: %+v, %s", e, r)
	}
	h.collect()
}

// shared: other processes are in rkt's cgroup, as in a session. If that has no
// limits the pod is made beside it, else the pod stays in it.
func (h *host) shared() {
	session := makeGroup(h.t, mount+"/session")
	other := exec.Command("/bin/sleep", "1002")
	inGroup(other, session)
	if err := other.Start(); err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	eventually(h.t, "somebody else is in the cgroup", func() bool { return value(h.t, read(h.t, session+"/cgroup.events"), "populated") == 1 })
	// nothing to limit: below, and nobody is moved
	r := h.runIn(session, h.app(nil, nil, "/bin/true")...)
	if got := h.subcgroup(h.uuid()); r.Status != 0 || !strings.HasPrefix(got, `session/machine-rkt\x2d`) {
		h.t.Errorf("subcgroup %q: %s", got, r)
	}
	// a limit: above
	r = h.runIn(session, h.app(nil, []string{"--memory=32Mi"}, "/bin/dd", eat("256M")...)...)
	if e := h.exit(h.uuid(), "app"); r.Status != 9 || !e.OOMKilled {
		h.t.Errorf("256 MiB under a limit of 32: %+v, %s", e, r)
	}
	if got := h.subcgroup(h.uuid()); !strings.HasPrefix(got, `machine-rkt\x2d`) {
		h.t.Errorf("subcgroup %q", got)
	}
	// a limit where the cgroup has one: it is not left
	write(h.t, session+"/pids.max", "300")
	r = h.runIn(session, h.app(nil, []string{"--memory=32Mi"}, "/bin/true")...)
	if r.Status != 254 || !strings.Contains(r.Stderr, "other processes are in the cgroup "+session) {
		h.t.Errorf("%s", r)
	}
	r = h.runIn(session, h.one("i=0; while [ $i -lt 400 ]; do sleep 5 & i=$((i+1)); done; echo all")...)
	if r.Status == 0 || !strings.Contains(r.Stdout, "can't fork") {
		h.t.Errorf("400 processes in a cgroup of 300: %s", r)
	}
	h.collect()
}

// fly: the other flavor on such a host.
func (h *host) fly() {
	h.Stage1 = harness.Fly
	r := h.Run(h.app(nil, []string{"--memory=32Mi"}, "/bin/dd", eat("256M")...)...)
	if r.Signal != syscall.SIGKILL && r.Status != 9 {
		h.t.Errorf("256 MiB under a limit of 32: %s", r)
	}
	h.collect()
}
