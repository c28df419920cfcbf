// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// probeScript prints what an app sees of itself and stays. $$ is the shell, which
// changes none of it.
const probeScript = `
for f in status limits mountinfo oom_score_adj; do echo "== $f"; cat /proc/$$/$f; echo; done
echo "== ns"; for n in mnt pid ipc net uts user cgroup; do echo $n $(readlink /proc/$$/ns/$n); done
echo "== hostname"; hostname
echo "== pwd"; pwd
echo "== mkdir"; mkdir $dir/made 2>&1 && echo made
echo "== node"; rm -f $dir/n; mknod $dir/n c 1 3 2>/dev/null && echo null; rm -f $dir/n; mknod $dir/n c 10 237 2>/dev/null && echo other
echo "== paths"; for p in $paths; do if [ -e $p ]; then echo $p $(stat -c %a $p); else echo $p absent; fi; done
echo "== ready"; trap 'exit 0' TERM; while :; do sleep 0.1; done`

// probed is what the probe has seen, section by section.
type probed map[string]string

func probe(t *testing.T, h *harness.Host, args []string) (*harness.Proc, probed) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "uuid")
	proc := h.Start(append([]string{"run", "--uuid-file-save=" + file}, args...)...)
	proc.WaitContains("== ready")
	uuid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	proc.UUID = string(uuid)
	seen := probed{}
	for part := range strings.SplitSeq(harness.AppOutput(proc.Output(), "app"), "== ") {
		name, text, _ := strings.Cut(part, "\n")
		seen[name] = strings.TrimRight(text, "\n") + "\n"
	}
	return proc, seen
}

// explainCase is a pod to explain.
type explainCase struct {
	name    string
	flavors []string
	global  string // insecure options
	pod     []string
	app     []string
	image   map[string]any
	// may are differences that depend on the machine.
	may []string
	// check is about what the case is for.
	check func(t *testing.T, r *explain.Report, seen probed)
}

func explainCases(source string) []explainCase {
	volumes := []string{"--volume=ro,kind=host,source=" + source + ",readOnly=true", "--volume=rw,kind=host,source=" + source, "--volume=e,kind=empty"}
	device := "--volume=dev,kind=host,source=/dev/zero,readOnly=true"
	mounts := []string{"--mount=volume=ro,target=/ro", "--mount=volume=rw,target=/deep/rw", "--mount=volume=e,target=/home/../empty"}
	origin := func(t *testing.T, what string, got, want explain.Origin) {
		t.Helper()
		if got != want {
			t.Errorf("origin of %s: %s, want %s", what, got, want)
		}
	}
	return []explainCase{
		{name: "default", check: func(t *testing.T, r *explain.Report, seen probed) {
			a := &r.Apps[0]
			if !strings.Contains(seen["mkdir"], "made") {
				t.Errorf("mkdir: %q", seen["mkdir"])
			}
			origin(t, "capabilities", a.Capabilities.Origin, map[bool]explain.Origin{true: explain.FromDefault, false: explain.FromCaller}[r.Stage1.Flavor != "fly"])
			origin(t, "working directory", a.WorkingDirectory.Origin, explain.FromDefault)
			origin(t, "user", a.User.Origin, explain.FromImage)
		}},
		{
			name: "asked by flags", pod: append([]string{device}, volumes...),
			app: append([]string{
				"--mount=volume=dev,target=/srv/zero",
				"--user=alice", "--group=staff", "--supplementary-gids=1000,7", "--working-dir=/var", "--caps-remove=CAP_NET_RAW",
				"--seccomp=mode=remove,errno=EXDEV,mkdir,mkdirat", "--memory=64Mi", "--cpu=500m", "--cpu-shares=300", "--pids-limit=77",
				"--oom-score-adj=300", "--ulimit=nofile=100:200", "--ulimit=core=0", "--readonly-rootfs=true",
			}, mounts...),
			check: func(t *testing.T, r *explain.Report, seen probed) {
				a := &r.Apps[0]
				if s := a.Seccomp; s.List != "deny" || s.Denied != "EXDEV" || !slices.Contains(s.Removed, "mkdir") || !strings.Contains(seen["mkdir"], "ross-device") {
					t.Errorf("%+v; mkdir: %q", s, seen["mkdir"])
				}
				if !slices.Equal(a.Capabilities.Removed, []string{"CAP_NET_RAW"}) && r.Stage1.Flavor != "fly" {
					t.Errorf("%+v", a.Capabilities)
				}
				if !a.NoNewPrivileges.On || a.NoNewPrivileges.Detail == "" || *a.User.UID != 1000 || *a.User.GID != 50 {
					t.Errorf("%+v %+v", a.NoNewPrivileges, a.User)
				}
				for i, want := range map[int]int64{0: 64 << 20, 1: 500, 2: 300, 3: 77} {
					l := a.Limits[i]
					if l.Limit == nil || *l.Limit != want || l.By == "" || len(l.Files) == 0 {
						t.Errorf("%+v, want %d", l, want)
					}
					origin(t, l.Name, l.Origin, explain.FromUser)
				}
				rule := explain.DeviceRule{Device: "c 1:5", Access: "r", Name: "zero"}
				if a.Devices.Restricted != slices.Contains(a.Devices.Rules, rule) {
					t.Errorf("%+v", a.Devices)
				}
				origin(t, "root", a.Root.ReadOnly.Origin, explain.FromUser)
				origin(t, "user", a.User.Origin, explain.FromUser)
			},
		},
		{
			name: "asked by the image",
			image: map[string]any{
				"user": "1000", "group": "1000", "mountPoints": []map[string]any{{"name": "data", "path": "/data"}},
				"isolators": []map[string]any{
					{"name": "os/linux/no-new-privileges", "value": true},
					{"name": "resource/memory", "value": map[string]string{"limit": "96Mi"}},
					{"name": "os/linux/capabilities-retain-set", "value": map[string]any{"set": []string{"CAP_KILL", "CAP_CHOWN"}}},
					{"name": "os/unix/rlimits", "value": map[string]any{"nofile": map[string]int{"soft": 50, "hard": 60}}},
				},
			},
			check: func(t *testing.T, r *explain.Report, _ probed) {
				a := &r.Apps[0]
				if a.Capabilities.Bounding == nil || len(a.Capabilities.Bounding) != 2 || *a.Limits[0].Limit != 96<<20 {
					t.Errorf("%+v %+v", a.Capabilities, a.Limits[0])
				}
				for what, o := range map[string]explain.Origin{
					"capabilities": a.Capabilities.Origin, "no new privileges": a.NoNewPrivileges.Origin, "memory": a.Limits[0].Origin, "user": a.User.Origin,
				} {
					origin(t, what, o, explain.FromImage)
				}
				if m := a.Mounts[len(a.Mounts)-1]; m.Kind != explain.MountImplicit || m.Target != "/data" {
					t.Errorf("%+v", m)
				}
			},
		},
		{
			name: "insecure", flavors: []string{"coreos", "host"}, global: "image,all-run", may: []string{"capabilities"},
			check: func(t *testing.T, r *explain.Report, seen probed) {
				a := &r.Apps[0]
				if a.Masks.On || a.Seccomp.On || a.Devices.Restricted || !slices.Equal(r.InsecureOptions.Run, []string{"capabilities", "paths", "seccomp"}) {
					t.Errorf("%+v %+v %+v %+v", a.Masks, a.Seccomp, a.Devices, r.InsecureOptions)
				}
				for what, o := range map[string]explain.Origin{
					"capabilities": a.Capabilities.Origin, "seccomp": a.Seccomp.Origin, "masks": a.Masks.Origin, "devices": a.Devices.Origin,
				} {
					origin(t, what, o, explain.FromInsecure)
				}
				if !strings.Contains(seen["node"], "other") {
					t.Errorf("mknod: %q", seen["node"])
				}
			},
		},
		{
			name: "user namespace", flavors: []string{"coreos", "host"}, pod: []string{"--private-users"}, app: []string{"--user=5", "--group=6"},
			check: func(t *testing.T, r *explain.Report, _ probed) {
				if u := r.UserNamespace; !u.On || u.First == 0 || u.Count == 0 || u.Origin != explain.FromUser {
					t.Errorf("%+v", u)
				}
			},
		},
		{
			name: "namespaces of the host", pod: []string{"--net=host", "--ipc=parent", "--dns=host", "--hosts-entry=host"},
			check: func(t *testing.T, r *explain.Report, _ probed) {
				if r.Network.Gives != explain.NetHost {
					t.Errorf("%+v", r.Network)
				}
			},
		},
		{
			name: "names and a covered /sys", flavors: []string{"coreos", "host"},
			pod: []string{"--hostname=under_score", "--dns=192.0.2.1", "--hosts-entry=192.0.2.2=other", "--sysctl=net.ipv4.ip_forward=1", volumes[2]},
			app: []string{"--mount=volume=e,target=/sys"},
			check: func(t *testing.T, r *explain.Report, _ probed) {
				if r.HostName.Value != "under_score" || len(r.KernelParameters) != 1 {
					t.Errorf("%+v %+v", r.HostName, r.KernelParameters)
				}
			},
		},
	}
}

// TestExplain compares "rkt explain POD" with what a probe inside the pod sees,
// and with "rkt explain run" of the same arguments.
func TestExplain(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, flavor := range harness.Flavors("coreos", "host", "fly") {
		t.Run(flavor, func(t *testing.T) {
			for _, c := range explainCases(t.TempDir()) {
				if c.flavors != nil && !slices.Contains(c.flavors, flavor) {
					continue
				}
				t.Run(c.name, func(t *testing.T) { explainOne(t, flavor, c) })
			}
		})
	}
}

func explainOne(t *testing.T, flavor string, c explainCase) {
	h := harness.NewHost(t)
	if c.global != "" {
		h.Flags = []string{"--insecure-options=" + c.global}
	}
	image := h.Fetch(harness.Busybox(t, c.image))
	args := append([]string{stage1Flag(t, flavor)}, c.pod...)
	if !slices.ContainsFunc(c.pod, func(f string) bool { return strings.HasPrefix(f, "--net") }) {
		args = append(args, "--net=none")
	}
	args = append(append(args, image, "--name=app"), c.app...)
	args = append(args, "--exec=/bin/sh", "--", "-c", "dir=/tmp; paths='"+strings.Join(maskPaths(), " ")+"'; "+probeScript)

	var plan explain.Report
	decode(t, h.OK(append([]string{"explain", "run", "--format=json"}, args...)...), &plan)
	if pods := h.Pods(); len(pods) > 0 {
		t.Errorf("explain run has made pods: %v", pods)
	}
	proc, seen := probe(t, h, args)
	var r explain.Report
	decode(t, h.OK("explain", "--format=json-pretty", proc.UUID), &r)
	if r.Version != explain.SchemaVersion || r.Basis != explain.BasisRecord || r.Pod.UUID != proc.UUID || r.Pod.State != "running" || len(r.Apps) != 1 {
		t.Fatalf("%+v", r)
	}
	compareWithProbe(t, &r, seen)
	for _, d := range r.Apps[0].Differences {
		if !slices.Contains(c.may, d.Setting) {
			t.Errorf("difference: %+v", d)
		}
	}
	comparePlan(t, &plan, &r)
	if c.check != nil {
		c.check(t, &r, seen)
	}
	if out := h.OK("explain", proc.UUID); !strings.Contains(out, "\napp app\n") || strings.Contains(out, "%!") {
		t.Errorf("text:\n%s", out)
	}
	h.OK("stop", "--force", proc.UUID)
	proc.Wait()
	h.OK("status", "--wait", proc.UUID)
	var after explain.Report
	decode(t, h.OK("explain", "--format=json", proc.UUID), &after)
	if after.Apps[0].Process != nil || after.Basis != explain.BasisRecord || !cmp.Equal(after.Apps[0].Capabilities, withoutUnknown(&r, &after)) {
		t.Errorf("after its end: %+v", after.Apps[0])
	}
}

// withoutUnknown: what only the running process knew is not known any more.
func withoutUnknown(r, after *explain.Report) explain.Capabilities {
	c := r.Apps[0].Capabilities
	if c.Origin == explain.FromCaller {
		return after.Apps[0].Capabilities
	}
	return c
}

// stage1Flag chooses the image as newPodsOf does.
func stage1Flag(t *testing.T, flavor string) string {
	t.Helper()
	if file := os.Getenv("RKT_TEST_STAGE1"); file != "" && flavor != "fly" {
		return "--stage1-path=" + file
	}
	return harness.Stage1Flag(t, flavor)
}

func decode(t *testing.T, text string, r *explain.Report) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// maskPaths are looked at whether or not the report says they are masked.
func maskPaths() []string {
	return []string{
		"/proc/bus", "/proc/sys", "/proc/sysrq-trigger", "/proc/fs", "/proc/irq", "/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices",
		"/sys/kernel", "/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmem",
		"/proc/latency_stats", "/proc/mem", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/fs",
		"/sys/hypervisor", "/sys/module", "/sys/power",
	}
}

// compareWithProbe holds the report to what the app sees.
func compareWithProbe(t *testing.T, r *explain.Report, seen probed) {
	t.Helper()
	a := &r.Apps[0]
	status, err := explain.ParseStatus([]byte(seen["status"]))
	if err != nil {
		t.Fatal(err)
	}
	set := func(what string, names []string, got caps.Set) {
		t.Helper()
		want, err := caps.Parse(names)
		if err != nil {
			t.Fatal(err)
		}
		if names != nil && want != got {
			t.Errorf("%s: report %v, probe %v", what, want, got)
		}
	}
	if a.Capabilities.Origin != explain.FromInsecure { // which gives what rkt itself has
		set("bounding set", a.Capabilities.Bounding, status.Bounding)
		set("effective set", a.Capabilities.Effective, status.Effective)
	}
	set("bounding set of the process", a.Process.Bounding, status.Bounding)
	equal := func(what string, report, probe any) {
		t.Helper()
		if !cmp.Equal(report, probe) {
			t.Errorf("%s: report %v, probe %v", what, report, probe)
		}
	}
	equal("no new privileges", a.NoNewPrivileges.On, status.NoNewPrivs)
	equal("seccomp", a.Seccomp.On || a.Seccomp.PodFilter, status.Seccomp == 2)
	equal("user", *a.User.UID, status.UID)
	equal("group", *a.User.GID, status.GID)
	equal("user of the process", a.Process.UID, status.UID)
	groups := []string{strconv.Itoa(*a.User.GID)}
	for _, g := range a.User.Groups {
		groups = append(groups, strconv.Itoa(g))
	}
	slices.Sort(groups)
	equal("groups", slices.Compact(groups), sortedFields(field(seen["status"], "Groups")))
	equal("working directory", a.WorkingDirectory.Value, strings.TrimSpace(seen["pwd"]))
	if o := a.OOMScoreAdj.Value; o != nil {
		equal("OOM score", strconv.FormatInt(*o, 10), strings.TrimSpace(seen["oom_score_adj"]))
	}
	if r.HostName.Value != "" {
		equal("host name", r.HostName.Value, strings.TrimSpace(seen["hostname"]))
	}
	if a.Devices.Restricted && status.Bounding.Has(27) && status.UID == 0 && !r.UserNamespace.On { // CAP_MKNOD
		equal("devices", "null\n", seen["node"])
	}
	compareRlimits(t, a, seen)
	compareNamespaces(t, r, seen)
	compareMounts(t, a, seen)
	compareGroups(t, a)
}

func field(status, name string) string {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return v
		}
	}
	return ""
}

func sortedFields(s string) []string {
	f := strings.Fields(s)
	slices.Sort(f)
	return slices.Compact(f)
}

func compareRlimits(t *testing.T, a *explain.App, seen probed) {
	t.Helper()
	limits, err := explain.ParseLimits([]byte(seen["limits"]))
	if err != nil || len(limits) != len(a.Rlimits) {
		t.Fatalf("%v: %d limits, report %d", err, len(limits), len(a.Rlimits))
	}
	for i, r := range a.Rlimits {
		if got := (profile.Rlimit{Cur: uint64(r.Soft), Max: uint64(r.Hard)}); got != limits[i] {
			t.Errorf("rlimit %s: report %v, probe %v", r.Name, got, limits[i])
		}
	}
}

func compareNamespaces(t *testing.T, r *explain.Report, seen probed) {
	t.Helper()
	files := map[string]string{"mount": "mnt", "pid": "pid", "ipc": "ipc", "network": "net", "uts": "uts", "user": "user", "cgroup": "cgroup"}
	theirs := map[string]string{}
	for line := range strings.Lines(seen["ns"]) {
		name, link, _ := strings.Cut(strings.TrimSpace(line), " ")
		theirs[name] = link
	}
	for _, n := range r.Namespaces {
		ours, err := os.Readlink("/proc/self/ns/" + files[n.Name])
		if err != nil {
			t.Fatal(err)
		}
		if got := theirs[files[n.Name]]; n.Own == nil || got == "" || *n.Own != (got != ours) {
			t.Errorf("%s namespace: report %+v, probe %s, host %s", n.Name, n, got, ours)
		}
	}
}

func compareMounts(t *testing.T, a *explain.App, seen probed) {
	t.Helper()
	points, err := explain.ParseMounts([]byte(seen["mountinfo"]))
	if err != nil {
		t.Fatal(err)
	}
	if points["/"].ReadOnly != a.Root.ReadOnly.On {
		t.Errorf("root: report read-only %t, probe %+v", a.Root.ReadOnly.On, points["/"])
	}
	for _, m := range a.Mounts {
		at, ok := points[path.Clean(m.Target)]
		if m.Present == nil || *m.Present != ok || !ok && !m.Optional {
			t.Errorf("mount %+v: probe %t", m, ok)
		}
		if ok && m.ReadOnly != at.ReadOnly {
			t.Errorf("mount %+v: probe %+v", m, at)
		}
	}
	modes := map[string]string{}
	for line := range strings.Lines(seen["paths"]) {
		name, mode, _ := strings.Cut(strings.TrimSpace(line), " ")
		modes[name] = mode
	}
	if !a.Masks.On {
		for name, mode := range modes {
			if mode == "0" {
				t.Errorf("%s is hidden, report: no masks", name)
			}
		}
		return
	}
	for _, name := range maskPaths() {
		hidden, readOnly := slices.Contains(a.Masks.Hidden, name), slices.Contains(a.Masks.ReadOnly, name)
		if absent := slices.Contains(a.Masks.Absent, name); absent != (modes[name] == "absent") {
			t.Errorf("%s: report absent %t, probe %s", name, absent, modes[name])
		} else if absent {
			continue
		}
		if hidden != (modes[name] == "0") {
			t.Errorf("%s: report hidden %t, probe mode %s", name, hidden, modes[name])
		}
		if at, ok := points[name]; (hidden || readOnly) && (!ok || !at.ReadOnly) {
			t.Errorf("%s: report read-only, probe %+v", name, at)
		}
	}
}

// compareGroups holds the report to the cgroups on the host's side.
func compareGroups(t *testing.T, a *explain.App) {
	t.Helper()
	for _, dir := range a.Process.Cgroups {
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil || !slices.Contains(strings.Fields(string(procs)), strconv.Itoa(a.Process.PID)) {
			t.Errorf("process %d is not in %s: %v", a.Process.PID, dir, err)
		}
	}
	for _, l := range a.Limits {
		for _, f := range l.Files {
			data, err := os.ReadFile(f.Path)
			if err != nil || strings.TrimSpace(string(data)) != f.Value {
				t.Errorf("%s: report %s, host %q %v", f.Path, f.Value, data, err)
			}
			if base := path.Base(f.Path); l.Limit != nil && (base == "memory.limit_in_bytes" || base == "memory.max" || base == "pids.max") && f.Value != fmt.Sprint(*l.Limit) {
				t.Errorf("%s is %s, limit %d", f.Path, f.Value, *l.Limit)
			}
		}
	}
}

// comparePlan: "explain run" says before what "explain" says afterwards.
func comparePlan(t *testing.T, plan, r *explain.Report) {
	t.Helper()
	if plan.Basis != explain.BasisPlan || plan.Pod.UUID != "" || len(plan.Refusals) != 0 {
		t.Errorf("%+v %q", plan.Pod, plan.Refusals)
	}
	strip := func(in explain.App) explain.App {
		in.Process, in.Differences, in.Masks.Absent, in.Image.Verification = nil, nil, nil, explain.Verification{}
		in.Mounts, in.Limits = slices.Clone(in.Mounts), slices.Clone(in.Limits)
		in.Mounts = slices.DeleteFunc(in.Mounts, func(m explain.Mount) bool { return m.Optional && (m.Present == nil || !*m.Present) })
		for i := range in.Mounts {
			in.Mounts[i].Present, in.Mounts[i].Optional = nil, false
		}
		for i := range in.Limits {
			in.Limits[i].Files = nil
		}
		in.Capabilities.Unavailable = nil
		if in.Capabilities.Origin == explain.FromInsecure {
			in.Capabilities = explain.Capabilities{}
		}
		return in
	}
	before, after := strip(plan.Apps[0]), strip(r.Apps[0])
	// Devices of the pod are optional beforehand.
	before.Mounts = slices.DeleteFunc(before.Mounts, func(m explain.Mount) bool { return m.Kind == explain.MountSystem })
	after.Mounts = slices.DeleteFunc(after.Mounts, func(m explain.Mount) bool { return m.Kind == explain.MountSystem })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("explain run (-) and explain (+) differ:\n%s", diff)
	}
	for i, n := range r.Namespaces {
		if p := plan.Namespaces[i]; p.Own == nil || n.Own == nil || *p.Own != *n.Own {
			t.Errorf("namespace %s: planned %+v, is %+v", n.Name, p, n)
		}
	}
	if plan.Network.Gives != r.Network.Gives {
		t.Errorf("network: planned %+v, is %+v", plan.Network, r.Network)
	}
}

// TestExplainStates: a prepared pod, one of several apps, and refusals.
func TestExplainStates(t *testing.T) {
	p := newPods(t)
	uuid := strings.TrimSpace(p.OK("prepare", p.stage1, "--volume=e,kind=empty", p.image, "--name=one", "--user=alice", "--mount=volume=e,target=/e", "---", p.image, "--name=two", "--exec=/no/such"))
	var r explain.Report
	decode(t, p.OK("explain", "--format=json", uuid), &r)
	if r.Basis != explain.BasisPlan || r.Pod.State != "prepared" || len(r.Apps) != 2 || *r.Apps[0].User.UID != 1000 || r.Network.Gives != explain.NetUnknown {
		t.Errorf("%+v", r)
	}
	if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0], "/no/such") || len(r.Warnings) == 0 {
		t.Errorf("refusals %q, warnings %q", r.Refusals, r.Warnings)
	}
	if name := r.Stage1.Name; r.Stage1.ImageID == "" || !r.Stage1.Known || !strings.HasPrefix(name, "coreos.com/rkt/stage1-") {
		t.Errorf("%+v", r.Stage1)
	}
	manifest := filepath.Join(t.TempDir(), "pod.json")
	if err := os.WriteFile(manifest, []byte(`{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"m","image":{"id":"`+p.image[:20]+`"},
		"app":{"exec":["/bin/true"],"user":"0","group":"0","isolators":[{"name":"os/linux/no-new-privileges","value":true}]}}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	out := p.OK("explain", "run", p.stage1, "--pod-manifest="+manifest)
	if !strings.Contains(out, "\n  no new privileges: on [pod manifest or flag]\n") || !strings.Contains(out, p.image) {
		t.Errorf("%s", out)
	}
	p.Fail(254, "unknown capability", "explain", "run", p.stage1, p.image, "--caps-retain=CAP_NONE")
	// A change behind rkt's back shows.
	proc, _ := probe(t, p.Host, p.program(p.image, []string{"--memory=64Mi", "--exec=/bin/sh"}, "-c", probeScript)[1:])
	decode(t, p.OK("explain", "--format=json", proc.UUID), &r)
	i := slices.IndexFunc(r.Apps[0].Limits[0].Files, func(f explain.ControlFile) bool {
		return path.Base(f.Path) == "memory.limit_in_bytes" || path.Base(f.Path) == "memory.max"
	})
	if i < 0 {
		t.Fatalf("%+v", r.Apps[0].Limits[0])
	}
	file := r.Apps[0].Limits[0].Files[i].Path
	if err := os.WriteFile(file, []byte(strconv.Itoa(32<<20)), 0); err != nil {
		t.Fatal(err)
	}
	r = explain.Report{}
	decode(t, p.OK("explain", "--format=json", proc.UUID), &r)
	if d := r.Apps[0].Differences; len(d) != 1 || d[0].Setting != "limits.memory" || d[0].Seen != explain.SeenProcess {
		t.Errorf("%+v", d)
	}
	p.OK("stop", proc.UUID)
	proc.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for p.Status(proc.UUID)["exited"] != "true" && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
}
