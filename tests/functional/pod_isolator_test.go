// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/tests/harness"
)

// isolated is an image with isolators.
func (p *pods) isolated(all map[string]any, more map[string]any) string {
	p.t.Helper()
	var list []map[string]any
	for name, value := range all {
		list = append(list, map[string]any{"name": name, "value": value})
	}
	app := map[string]any{"isolators": list}
	for k, v := range more {
		app[k] = v
	}
	return p.Fetch(harness.Busybox(p.t, app))
}

// fields are lines of /proc/self/status of an app, without their names.
func (p *pods) fields(image string, names string, flags ...string) string {
	p.t.Helper()
	args := p.program(image, append(flags, "--exec=/bin/sh"), "-c", "for n in "+names+"; do grep ^$n: /proc/self/status | cut -f2; done")
	return strings.Join(strings.Fields(harness.AppOutput(p.OK(args...), "app")), " ")
}

func capHex(s caps.Set) string {
	text := strconv.FormatUint(uint64(s), 16)
	return strings.Repeat("0", 16-len(text)) + text
}

// TestPodCapabilities: what an app may ever have (apps.md 8).
func TestPodCapabilities(t *testing.T) {
	p := newPods(t)
	set := func(names ...string) map[string]any { return map[string]any{"set": names} }
	bit := func(names ...string) caps.Set {
		s, err := caps.Parse(names)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const retain, remove = "os/linux/capabilities-retain-set", "os/linux/capabilities-remove-set"
	retaining := p.isolated(map[string]any{retain: set("CAP_NET_ADMIN", "CAP_KILL")}, nil)
	for name, tt := range map[string]struct {
		image string
		flags []string
		want  caps.Set
	}{
		"default":                 {p.image, nil, caps.Default},
		"retain":                  {retaining, nil, bit("CAP_NET_ADMIN", "CAP_KILL")},
		"remove":                  {p.isolated(map[string]any{remove: set("CAP_CHOWN", "CAP_SYS_ADMIN")}, nil), nil, caps.Default &^ bit("CAP_CHOWN")},
		"retain by flag":          {retaining, []string{"--caps-retain=CAP_SYS_ADMIN,CAP_CHOWN"}, bit("CAP_SYS_ADMIN", "CAP_CHOWN")},
		"remove by flag":          {retaining, []string{"--caps-remove=CAP_CHOWN"}, caps.Default &^ bit("CAP_CHOWN")},
		"remove all by flag":      {p.image, []string{"--caps-remove=" + strings.Join(caps.Default.Names(), ",")}, 0},
		"old spelling of retain":  {p.image, []string{"--cap-retain=CAP_KILL"}, bit("CAP_KILL")},
		"one beyond nspawn's own": {p.image, []string{"--caps-retain=CAP_SYS_MODULE"}, bit("CAP_SYS_MODULE")},
	} {
		t.Run(name, func(t *testing.T) {
			want := strings.Join([]string{"0000000000000000", capHex(tt.want), capHex(tt.want), capHex(tt.want), "0000000000000000"}, " ")
			if got := p.fields(tt.image, "CapInh CapPrm CapEff CapBnd CapAmb", tt.flags...); got != want {
				t.Errorf("inheritable, permitted, effective, bounding, ambient: %s, want %s", got, want)
			}
		})
	}
	if got, want := p.fields(p.image, "CapEff CapBnd NoNewPrivs", "--user=1000"), "0000000000000000 "+capHex(caps.Default)+" 1"; got != want {
		t.Errorf("of a user: %s, want %s", got, want)
	}
	p.refused(254, "cannot use both --caps-retain and --caps-remove on the same image", p.shell("true", "--caps-retain=CAP_KILL", "--caps-remove=CAP_CHOWN")...)
	p.refused(254, "CAP_NO_SUCH", p.shell("true", "--caps-retain=CAP_NO_SUCH")...)
	// the bounding set binds: a file capability beyond it gives nothing, and the network stays as it is
	p.expect("refused\n", "ip link set lo down 2>/dev/null || echo refused")
	p.expect("refused\n", "chroot / true 2>/dev/null || echo refused", "--caps-remove=CAP_SYS_CHROOT")
	defer p.insecure("image,capabilities")()
	all := p.fields(p.image, "CapBnd")
	if n, err := strconv.ParseUint(all, 16, 64); err != nil || caps.Set(n)&caps.Default != caps.Default || n&(1<<21) == 0 {
		t.Errorf("with --insecure-options=capabilities: %s", all)
	}
	// of PID 1: mknod always, net_admin only if an app has it
	p.Flags = []string{"--insecure-options=image"}
	pid1 := func(flags ...string) caps.Set {
		n, err := strconv.ParseUint(strings.TrimSpace(p.sh("grep CapBnd /proc/1/status | cut -f2", flags...)), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return caps.Set(n)
	}
	if got := pid1(); got&bit("CAP_MKNOD") == 0 || got&bit("CAP_NET_ADMIN") != 0 {
		t.Errorf("PID 1 has %s", got)
	}
	if got := pid1("--caps-retain=CAP_NET_ADMIN"); got&bit("CAP_NET_ADMIN") == 0 {
		t.Errorf("PID 1 of a pod with an app that has CAP_NET_ADMIN: %s", got)
	}
}

// TestPodNoNewPrivileges: asked for, forced, and what it is good for.
func TestPodNoNewPrivileges(t *testing.T) {
	p := newPods(t)
	const name = "os/linux/no-new-privileges"
	entries := harness.BusyboxEntries(t)
	for i := range entries {
		if entries[i].Name == "bin/busybox" {
			entries[i].Mode = 0o4755
		}
	}
	// busybox drops the set-user-ID bit's effect for sh; id keeps it
	setuid := p.Fetch(harness.ACI(t, harness.Manifest("example.com/setuid", "1", map[string]any{"user": "1000", "group": "1000"}), append(entries, harness.File("etc/busybox.conf", 0o644, "[SUID]\nid = ssx root.root\n"))))
	for _, tt := range []struct{ image, flags, want string }{
		{p.image, "", "0"},
		{p.isolated(map[string]any{name: true}, nil), "", "1"},
		{p.isolated(map[string]any{name: false}, nil), "", "0"},
		{p.image, "--user=1000", "1"},
		{p.isolated(map[string]any{name: false}, map[string]any{"user": "1000"}), "", "1"},
	} {
		if got := p.fields(tt.image, "NoNewPrivs", strings.Fields(tt.flags)...); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.image, tt.flags, got, tt.want)
		}
	}
	euid := func() string {
		return strings.TrimSpace(harness.AppOutput(p.OK(p.program(setuid, []string{"--exec=/bin/grep"}, "^Uid:", "/proc/self/status")...), "app"))
	}
	if got := euid(); got != "Uid:\t1000\t1000\t1000\t1000" {
		t.Errorf("a set-user-ID program of a user gets %q", got)
	}
	defer p.insecure("image,seccomp")()
	if got := p.fields(p.image, "NoNewPrivs", "--user=1000"); got != "0" {
		t.Errorf("without a filter: %s", got)
	}
}

// TestPodSeccomp: filters of flags and images (apps.md 9).
func TestPodSeccomp(t *testing.T) {
	p := newPods(t)
	const retain, remove = "os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set"
	filter := func(errno string, names ...string) map[string]any {
		return map[string]any{"set": names, "errno": errno}
	}
	mkdir := "mkdir /tmp/d 2>&1 && echo made || true"
	p.expect("made\n", mkdir)
	p.expect("mkdir: can't create directory '/tmp/d': Invalid cross-device link\n", mkdir, "--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat")
	if r := p.Run(p.program(p.image, []string{"--exec=/bin/mkdir", "--seccomp=mode=remove,mkdir,mkdirat"}, "/tmp/d")...); r.Status != 31 {
		t.Errorf("a removed call without errno: %s, want death by SIGSYS", r)
	}
	script := func(image, script string, flags ...string) string {
		t.Helper()
		return harness.AppOutput(p.OK(p.program(image, append(flags, "--exec=/bin/sh"), "-c", script)...), "app")
	}
	for name, tt := range map[string]struct {
		image, script, want string
	}{
		"remove":               {p.isolated(map[string]any{remove: filter("ENOTSUP", "mkdir", "mkdirat")}, nil), mkdir, "mkdir: can't create directory '/tmp/d': Operation not supported\n"},
		"retain all":           {p.isolated(map[string]any{retain: filter("", "@appc.io/all")}, nil), "grep Seccomp_filters: /proc/self/status | cut -f2; (unshare -u true && echo unshared) 2>&1; true", "1\nunshare: unshare(0x4000000): Operation not permitted\n"},
		"remove empty":         {p.isolated(map[string]any{remove: filter("ENOSYS", "@appc.io/empty")}, nil), "grep Seccomp: /proc/self/status | cut -f2; unshare -u true 2>&1", "2\nunshare: unshare(0x4000000): Function not implemented\n"},
		"retain with the list": {p.isolated(map[string]any{retain: filter("EPERM", "@rkt/default-whitelist")}, nil), mkdir, "made\n"},
		"docker's list":        {p.isolated(map[string]any{retain: filter("EPERM", "@docker/default-whitelist")}, nil), mkdir, "made\n"},
		"remove the blacklist": {p.isolated(map[string]any{remove: filter("ENOTSUP", "@rkt/default-blacklist")}, nil), "unshare -u true 2>&1; " + mkdir, "unshare: unshare(0x4000000): Operation not supported\nmade\n"},
		"systemd's groups":     {p.isolated(map[string]any{remove: filter("ENOTSUP", "@systemd/clock", "@systemd/mount")}, nil), "mount -t tmpfs x /mnt 2>&1 | grep -o 'not supported'; " + mkdir, "not supported\nmade\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := script(tt.image, tt.script+"; true", "--caps-retain=CAP_CHOWN"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	// the first filter is that of the pod as a whole
	if got := p.fields(p.image, "Seccomp Seccomp_filters NoNewPrivs"); got != "2 2 0" {
		t.Errorf("by default: %s", got)
	}
	p.expect("refused\n", "unshare -u true 2>/dev/null || echo refused")
	// one app's filter is no other's
	r := p.Run("run", p.stage1, "--net=none", p.image, "--name=one", "--exec=/bin/sh", "--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat", "--", "-c", mkdir, "---",
		p.image, "--name=two", "--exec=/bin/sh", "--", "-c", mkdir)
	if one, two := harness.AppOutput(r.Stdout, "one"), harness.AppOutput(r.Stdout, "two"); strings.Contains(one, "made") || two != "made\n" {
		t.Errorf("%q, %q: %s", one, two, r)
	}
	for flag, want := range map[string]string{
		"--seccomp=mode=x,mkdir": "mode", "--seccomp=mode=remove,errno=perm,mkdir": "errno must start with an 'E' character, got perm",
		"--seccomp=mode=remove,errno=E-X,mkdir": "errno can only contain upper case or numeric characters, got E-X", "--seccomp=mode=retain,no_such_call": "no_such_call",
		"--seccomp=mode=retain": "set must be non-empty", "--seccomp=mode=retain,@appc.io/empty": "@appc.io/empty", "--seccomp=mode=remove,@no/such": "@no/such",
	} {
		p.refused(254, want, p.shell("true", flag)...)
	}
	defer p.insecure("image,seccomp")()
	if got := p.fields(p.image, "Seccomp_filters"); got != "1" {
		t.Errorf("with --insecure-options=seccomp: %s", got)
	}
}

// TestPodMemory: the limit binds, is told, and leaves other apps alone.
func TestPodMemory(t *testing.T) {
	p := newPods(t)
	eat := func(limit string) (harness.Result, string) {
		return p.runUUID(p.program(p.image, []string{"--exec=/bin/dd", "--memory=" + limit}, "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1")...)
	}
	r, uuid := eat("32Mi")
	if e, ok := p.exit(uuid, "app"); r.Status != 9 || !ok || e.Signal != 9 || !e.OOMKilled {
		t.Errorf("256 MiB under a limit of 32: %+v, %s", e, r)
	}
	if r, uuid = eat("512Mi"); r.Status != 0 {
		t.Errorf("256 MiB under a limit of 512: %s", r)
	}
	if e, ok := p.exit(uuid, "app"); !ok || e.OOMKilled {
		t.Errorf("%+v", e)
	}
	// a child is killed, the app goes on
	r = p.Run(p.shell("dd if=/dev/zero of=/dev/null bs=256M count=1; echo $?", "--memory=32Mi")...)
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || !strings.Contains(got, "137\n") {
		t.Errorf("%s", r)
	}
	image := p.isolated(map[string]any{"resource/memory": map[string]any{"limit": "32Mi", "request": "16Mi"}}, nil)
	if r := p.Run(p.program(image, []string{"--exec=/bin/dd"}, "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1")...); r.Status != 9 {
		t.Errorf("a limit of the image: %s", r)
	}
	p.expect("", "true", "--memory=4Mi")
	r = p.Run("run", p.stage1, "--net=none", p.image, "--name=tight", "--memory=32Mi", "--exec=/bin/sh", "--", "-c", "dd if=/dev/zero of=/dev/null bs=256M count=1; exit 0", "---",
		p.image, "--name=wide", "--exec=/bin/dd", "--", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1")
	if r.Status != 0 {
		t.Errorf("the limit of one app on another: %s", r)
	}
	p.refused(254, "memory limit of 100 bytes too low", p.shell("true", "--memory=100")...)
}

// cgroupFile reads a file of the cgroup of an app, in whichever hierarchy has it.
func (p *pods) cgroupFile(uuid, app, file string) string {
	p.t.Helper()
	for _, g := range harness.Cgroups([]string{uuid}) {
		var found string
		_ = filepath.WalkDir(g, func(dir string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() || d.Name() != app+".service" {
				return nil //nolint:nilerr // cgroups come and go while we walk
			}
			if data, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				found = string(data)
			}
			return nil
		})
		if found != "" {
			return strings.TrimSpace(found)
		}
	}
	return ""
}

// TestPodLimitsSet: the values, and which processes they hold.
func TestPodLimitsSet(t *testing.T) {
	p := newPods(t)
	proc := p.start(p.shell("echo ready; sleep 1000 & exec sleep 1000", "--memory=42Mi", "--cpu=900m", "--cpu-shares=512", "--oom-score-adj=123", "--pids-limit=20")...)
	defer func() {
		p.OK("stop", "--force", proc.UUID)
		proc.Wait()
	}()
	first := func(files ...string) string {
		for _, f := range files {
			if got := p.cgroupFile(proc.UUID, "app", f); got != "" {
				return got
			}
		}
		return ""
	}
	if got := first("memory.max", "memory.limit_in_bytes"); got != "44040192" {
		t.Errorf("memory: %q", got)
	}
	if got := first("cpu.max", "cpu.cfs_quota_us"); strings.Fields(got + " ?")[0] != "90000" {
		t.Errorf("cpu: %q", got)
	}
	if got := first("cpu.shares"); got != "512" && first("cpu.weight") == "" {
		t.Errorf("cpu shares: %q", got)
	}
	if got := first("pids.max"); got != "20" {
		t.Errorf("pids: %q", got)
	}
	if got := strings.Fields(p.OK("enter", proc.UUID, "/bin/cat", "/proc/self/oom_score_adj")); len(got) != 1 || got[0] != "123" {
		t.Errorf("OOM score: %v", got)
	}
	inside := p.OK("enter", proc.UUID, "/bin/sh", "-c", "grep -c app.service /proc/self/cgroup; sort /proc/self/cgroup | cksum; cat /proc/self/cgroup")
	if strings.HasPrefix(inside, "0\n") {
		t.Errorf("enter is outside the app's cgroups: %s", inside)
	}
}

// TestPodCPU: a busy loop is throttled.
func TestPodCPU(t *testing.T) {
	p := newPods(t)
	proc := p.start(p.shell("echo ready; while :; do :; done", "--cpu=100m")...)
	groups := harness.Cgroups([]string{proc.UUID})
	for deadline := time.Now().Add(20 * time.Second); throttled(groups) < 3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("a busy loop under --cpu=100m is not throttled; cgroups %v", groups)
			break
		}
	}
	p.OK("stop", "--force", proc.UUID)
	proc.Wait()
}

// TestPodPids: forking past the limit fails.
func TestPodPids(t *testing.T) {
	p := newPods(t)
	r := p.Run(p.shell("i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all", "--pids-limit=10")...)
	if r.Status == 0 || !strings.Contains(r.Stdout, "can't fork") {
		t.Errorf("40 processes under a limit of 10: %s", r)
	}
	p.expect("all\n", "i=0; while [ $i -lt 40 ]; do sleep 0.1 & i=$((i+1)); done; wait; echo all", "--pids-limit=50")
}

// TestPodRlimits: those of the caller, except for those that the app has.
func TestPodRlimits(t *testing.T) {
	p := newPods(t)
	p.expect("77\n", "ulimit -n", "--ulimit=nofile=77:88")
	p.expect("88\n", "ulimit -Hn", "--ulimit=nofile=77:88")
	if own := strings.TrimSpace(harness.Command(t, "sh", "-c", "ulimit -n")); strings.TrimSpace(p.sh("ulimit -n")) != own {
		t.Errorf("open files: %q, of the caller %q", p.sh("ulimit -n"), own)
	}
}

// TestPodUnknownIsolators: what nobody enforces is said or refused.
func TestPodUnknownIsolators(t *testing.T) {
	p := newPods(t)
	image := p.isolated(map[string]any{"resource/network-bandwidth": map[string]any{"default": true, "limit": "1G"}}, nil)
	r := p.Run(p.program(image, []string{"--exec=/bin/echo"}, "runs")...)
	if r.Status != 0 || harness.AppOutput(r.Stdout, "app") != "runs\n" || !strings.Contains(r.Stderr, "resource/network-bandwidth") {
		t.Errorf("%s", r)
	}
	p.refused(254, "example.com/unheard-of", p.program(p.isolated(map[string]any{"example.com/unheard-of": true}, nil), nil)...)
}
