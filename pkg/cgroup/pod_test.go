// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	v2Root  = "/sys/fs/cgroup"
	v1Hosts = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
33 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
35 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
`
	v1Own      = "9:name=systemd:/user\n8:devices:/\n4:memory:/a/b\n1:cpu:/\n"
	hybridMore = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

// recorder checks that every directory is reported before it is made.
type recorder struct {
	t   *testing.T
	m   *model
	got []string
}

func (r *recorder) record(paths []string) error {
	r.t.Helper()
	if _, made := r.m.procs[paths[len(paths)-1]]; made && !slices.Contains(r.got, paths[len(paths)-1]) {
		r.t.Errorf("%v was made before it was recorded", paths)
	}
	r.got = slices.Clone(paths)
	return nil
}

func TestPodUnified(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	all := []string{Memory, CPU, Pids}
	const (
		slice   = v2Root + "/system.slice"
		service = slice + "/a.service"
	)
	tree := func(procs ...string) map[string][]string {
		return map[string][]string{v2Root: {"1"}, slice: nil, service: procs}
	}
	for _, tt := range []struct {
		name  string
		procs map[string][]string
		limit string // a control file that says that the service has a limit
		need  []string
		pod   string
		moved bool // this process and its mate are in the supervisor's group then
		lacks bool // the pod has no controllers
	}{
		{name: "at the root", procs: map[string][]string{v2Root: {"1", self}}, pod: v2Root + "/pod"},
		{name: "alone in a service", procs: tree(self, "42"), pod: service + "/pod", moved: true},
		{name: "alone in a service with a limit", procs: tree(self, "42"), limit: service + "/memory.max", need: all, pod: service + "/pod", moved: true},
		{name: "with others, nothing to limit", procs: tree("7", self), pod: service + "/pod", lacks: true},
		{name: "with others", procs: tree("7", self, "42"), need: []string{Pids}, pod: slice + "/pod"},
		{name: "with others and a limit", procs: tree("7", self), limit: service + "/pids.max", need: []string{Pids}, pod: service + "/pod", lacks: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &model{mount: v2Root, procs: tt.procs, subs: map[string][]string{v2Root: all, slice: all}, top: all, files: map[string]string{
				service + "/memory.max": "max", service + "/cpu.max": "max 100000", service + "/io.max": "", service + "/cpu.weight": "7",
			}}
			if tt.limit != "" {
				m.files[tt.limit] = "300"
			}
			own := "/system.slice/a.service"
			if len(tt.procs) == 1 {
				own = "/"
			}
			h := unifiedHost(t, m, own)
			r := recorder{t: t, m: m}
			p, err := h.MakePod("pod", PodOptions{Need: tt.need, Mates: []int{42}}, r.record)
			if err != nil {
				t.Fatal(err, m.log)
			}
			if p.Unified() != tt.pod || p.Relative() != strings.TrimPrefix(tt.pod, v2Root+"/") || !p.Whole() || !slices.Contains(r.got, tt.pod) {
				t.Errorf("unified %s, relative %s, whole %v, recorded %v", p.Unified(), p.Relative(), p.Whole(), r.got)
			}
			if _, ok := m.procs[tt.pod]; !ok {
				t.Errorf("%s is not there", tt.pod)
			}
			for _, pid := range []string{self, "42"} {
				if got := slices.Contains(m.procs[tt.pod+"/"+SupervisorGroup], pid); got != tt.moved {
					t.Errorf("process %s in the supervisor's group: %v", pid, got)
				}
			}
			// systemd-nspawn starts in there and hands the controllers down
			if len(m.procs[tt.pod]) != 0 || len(m.subs[tt.pod]) != 0 {
				t.Errorf("in the pod's group: %v, %v", m.procs[tt.pod], m.subs[tt.pod])
			}
			var none *NoControllerError
			if err := p.Has("rdma"); !errors.As(err, &none) || none.Cause != nil {
				t.Errorf("a controller that the host has not: %v", err)
			}
			var shared *SharedError
			if err := p.Has(Memory); tt.lacks != errors.As(err, &shared) || !tt.lacks && err != nil {
				t.Errorf("memory: %v", err)
			}
			if err := p.SetUnified(Limits{Memory: 4096}); (err != nil) != tt.lacks {
				t.Errorf("limit memory: %v", err)
			}
			if got := m.files[tt.pod+"/memory.max"]; (got == "4096") == tt.lacks {
				t.Errorf("memory.max is %q", got)
			}
			m.files[tt.pod+"/pids.max"] = "max"
			if err := p.Check(Pids, Limits{Pids: 5}); (err != nil) != tt.lacks {
				t.Errorf("check pids: %v", err)
			}
			if err := p.Check(CPU, Limits{CPU: 5}); !errors.As(err, &none) || none.Cause == nil {
				t.Errorf("check cpu, whose file is missing: %v", err)
			}
			if err := p.JoinThread(); err != nil {
				t.Error(err)
			}
			if dirs, err := p.MakeApp("app", Limits{Memory: 1}); !errors.As(err, &none) || dirs != nil {
				t.Errorf("directories on v1: %v, %v", dirs, err)
			}
			if _, err := p.MakeDevices("app"); !errors.As(err, &none) {
				t.Errorf("devices on v1: %v", err)
			}
			m.procs[tt.pod+"/payload"] = nil
			m.subs[tt.pod] = all // as systemd-nspawn does
			if err := p.Restore(); err != nil {
				t.Error(err)
			}
			if tt.moved && len(m.subs[service]) > 0 || !slices.Equal(m.subs[slice], all) {
				t.Errorf("handed down after the end: %v", m.subs)
			}
		})
	}
}

// TestPodGiven: cgroups that the host's service manager has made.
func TestPodGiven(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	all := []string{Memory, CPU, Pids}
	const machine = "/machine.slice/pod"
	for _, tt := range []struct {
		name, own string
		procs     []string
		limited   string // directory that has a limit
		refused   bool   // the manager makes no scope
		pod, rel  string
		scope     bool
	}{
		{name: "alone in a service", own: "/system.slice/a.service", procs: []string{self, "42"}, limited: "/system.slice/a.service", pod: "/system.slice/a.service", rel: "system.slice/a.service/payload"},
		{name: "with others in a service with a limit", own: "/system.slice/a.service", procs: []string{"7", self}, limited: "/system.slice/a.service", pod: "/system.slice/a.service/pod"},
		{name: "with others in a service", own: "/system.slice/a.service", procs: []string{"7", self}, pod: machine, scope: true},
		{name: "in a session", own: "/user.slice/s.scope", procs: []string{"7", self, "42"}, limited: "/user.slice", pod: machine, scope: true},
		{name: "in a session, no scope to be had", own: "/user.slice/s.scope", procs: []string{"7", self}, refused: true, pod: "/user.slice/s.scope/pod"},
		{name: "alone in a scope with a limit", own: "/system.slice/a.scope", procs: []string{self, "42"}, limited: "/system.slice/a.scope", pod: "/system.slice/a.scope/pod"},
		{name: "in a part of a service with a limit", own: "/system.slice/a.service/part", procs: []string{self, "42"}, limited: "/system.slice/a.service", pod: "/system.slice/a.service/part/pod"},
		{name: "alone in a service of a user", own: "/user.slice/user@0.service/a.service", procs: []string{self, "42"}, pod: machine, scope: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &model{mount: v2Root, procs: map[string][]string{}, subs: map[string][]string{}, top: all, files: map[string]string{}}
			for dir := v2Root + tt.own; dir != v2Root; dir = filepath.Dir(dir) {
				m.procs[dir] = nil
				m.subs[filepath.Dir(dir)] = all
			}
			m.procs[v2Root+tt.own] = tt.procs
			if tt.limited != "" {
				m.files[v2Root+tt.limited+"/pids.max"] = "300"
			}
			h := unifiedHost(t, m, tt.own)
			h.managed = true
			var recorded []string
			asked := false
			p, err := h.MakePod("pod", PodOptions{Mates: []int{42}, NewScope: func(pids []int) error {
				if asked = true; tt.refused {
					return errors.New("no")
				}
				if !slices.Equal(pids, []int{42, os.Getpid()}) {
					t.Errorf("asked to move %v", pids)
				}
				m.procs[v2Root+"/machine.slice"], m.subs[v2Root+"/machine.slice"] = nil, all
				for _, pid := range pids {
					if err := m.write(v2Root+tt.own+"/cgroup.procs", "0"); err != nil {
						return err
					}
					m.procs[v2Root+machine] = append(m.procs[v2Root+machine], strconv.Itoa(pid))
				}
				m.procs[v2Root+tt.own] = nil
				h.proc = proc(t, unified, "0::"+machine+"\n")
				return nil
			}}, func(paths []string) error { recorded = slices.Clone(paths); return nil })
			if err != nil {
				t.Fatal(err, m.log)
			}
			rel := tt.rel
			if rel == "" {
				rel = strings.TrimPrefix(tt.pod, "/")
			}
			if p.Unified() != v2Root+tt.pod || p.Relative() != rel || asked != (tt.scope || tt.refused) {
				t.Errorf("unified %s, relative %s, asked for a scope: %v", p.Unified(), p.Relative(), asked)
			}
			if got, want := slices.Contains(recorded, p.Unified()), rel == strings.TrimPrefix(tt.pod, "/"); got != want {
				t.Errorf("recorded %v", recorded)
			}
			if len(m.procs[p.Unified()]) != 0 {
				t.Errorf("systemd-nspawn starts where %v is", m.procs[p.Unified()])
			}
			if !p.Holds(p.Payload()+"/system.slice/a.service") || p.Holds(p.Unified()) || p.Holds(v2Root+"/x") {
				t.Error("what the pod holds")
			}
			if p.Unified() == v2Root+tt.own { // given: restored for the next start
				m.procs[p.Payload()], m.subs[p.Unified()] = nil, all
				if err := p.Restore(); err != nil || len(m.subs[p.Unified()]) != 0 {
					t.Errorf("handed down after the end: %v, %v", m.subs[p.Unified()], err)
				}
			}
		})
	}
}

// TestHandDown: what the cgroups above have not handed down, on hosts with and
// without a service manager.
func TestHandDown(t *testing.T) {
	const deep = v2Root + "/a/b"
	for _, managed := range []bool{false, true} {
		m := &model{
			mount: v2Root, procs: map[string][]string{v2Root: {"1"}, v2Root + "/a": nil, deep: {strconv.Itoa(os.Getpid())}},
			subs: map[string][]string{}, top: []string{Memory, CPU, Pids, IO, "rdma"}, files: map[string]string{},
		}
		h := unifiedHost(t, m, "/a/b")
		h.managed = managed
		if !h.Has(Memory) || h.Has("perf_event") {
			t.Error("what the host has")
		}
		p, err := h.MakePod("pod", PodOptions{Need: []string{Memory}}, func([]string) error { return nil })
		if err != nil || p.Unified() != deep+"/pod" {
			t.Fatalf("%+v, %v", p, err)
		}
		var withheld *WithheldError
		if err := p.Has(Memory); errors.As(err, &withheld) != managed || !managed && err != nil {
			t.Errorf("managed %v: %v", managed, err)
		}
		if slices.Contains(m.subs[v2Root], "rdma") {
			t.Errorf("handed down without need: %v", m.subs)
		}
		m.procs[deep] = []string{strconv.Itoa(os.Getpid())}
		m.subs[deep] = nil
		_, err = h.Make("group", []string{Memory}, func([]string) error { return nil })
		if errors.As(err, &withheld) != managed || !managed && err != nil {
			t.Errorf("managed %v: %v", managed, err)
		}
	}
}

// podHost is a host with the mounts and own groups of the texts.
func podHost(t *testing.T, mounts, own string) (*Host, *model) {
	t.Helper()
	const mount = "/sys/fs/cgroup/unified"
	m := &model{mount: mount, procs: map[string][]string{mount: nil, mount + "/s": nil}, subs: map[string][]string{}, files: map[string]string{}}
	h, err := detect(proc(t, mounts, own), m)
	if err != nil {
		t.Fatal(err)
	}
	return h, m
}

func TestPodV1(t *testing.T) {
	const pod = "/sys/fs/cgroup/systemd/user/pod"
	for _, tt := range []struct {
		name, mounts, own string
		paths             []string
		unified, relative string
	}{
		{"v1", v1Hosts, v1Own, []string{pod}, "", "user/pod"},
		{"hybrid", v1Hosts + hybridMore, v1Own + "0::/s\n", []string{pod, "/sys/fs/cgroup/unified/s/pod"}, "/sys/fs/cgroup/unified/s/pod", "s/pod"},
		{
			"hybrid without name=systemd", strings.Replace(v1Hosts, "name=systemd", "freezer", 1) + hybridMore, "9:freezer:/\n4:memory:/a/b\n8:devices:/\n1:cpu:/\n0::/s\n",
			[]string{"/sys/fs/cgroup/unified/s/pod"},
			"/sys/fs/cgroup/unified/s/pod", "s/pod",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, m := podHost(t, tt.mounts, tt.own)
			r := recorder{t: t, m: m}
			p, err := h.MakePod("pod", PodOptions{}, r.record)
			if err != nil {
				t.Fatal(err)
			}
			if p.Unified() != tt.unified || p.Relative() != tt.relative || p.Whole() || !slices.Equal(p.Paths(), tt.paths) || !slices.Equal(r.got, tt.paths) {
				t.Errorf("unified %s, relative %s, whole %v, paths %v, recorded %v", p.Unified(), p.Relative(), p.Whole(), p.Paths(), r.got)
			}
			if err := p.Has(Memory); err != nil {
				t.Errorf("memory is on v1: %v", err)
			}
			app := []string{"/sys/fs/cgroup/memory/a/b/pod/system.slice/web.service", "/sys/fs/cgroup/cpu/pod/system.slice/web.service"}
			dirs, err := p.MakeApp("web", Limits{Memory: 4096, CPUShares: 512, CPU: 500})
			if err != nil || !slices.Equal(dirs, app) {
				t.Fatalf("%v, %v", dirs, err)
			}
			dev, err := p.MakeDevices("web")
			if err != nil || dev != "/sys/fs/cgroup/devices/pod/system.slice/web.service" {
				t.Errorf("%s, %v", dev, err)
			}
			if err := p.SetV1(Limits{Memory: 8192}); err != nil {
				t.Error(err)
			}
			want := map[string]string{
				app[0] + "/memory.limit_in_bytes": "4096", app[0] + "/memory.memsw.limit_in_bytes": "4096",
				app[1] + "/cpu.shares": "512", app[1] + "/cpu.cfs_period_us": "100000", app[1] + "/cpu.cfs_quota_us": "50000",
				"/sys/fs/cgroup/memory/a/b/pod/memory.limit_in_bytes": "8192", "/sys/fs/cgroup/memory/a/b/pod/memory.memsw.limit_in_bytes": "8192",
			}
			if diff := cmp.Diff(want, m.files); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			// what gc is told has the pod's own directories, and no app's
			all := append(slices.Clone(tt.paths), "/sys/fs/cgroup/memory/a/b/pod", "/sys/fs/cgroup/cpu/pod", "/sys/fs/cgroup/devices/pod")
			if !slices.Equal(r.got, all) {
				t.Errorf("recorded %v, want %v", r.got, all)
			}
			var none *NoControllerError
			if _, err := p.MakeApp("web", Limits{Pids: 5}); !errors.As(err, &none) || none.Controller != Pids {
				t.Errorf("%v", err)
			}
			m.files = map[string]string{}
			if err := p.JoinThread(); err != nil {
				t.Error(err)
			}
			for _, d := range all {
				if got := m.files[d+"/tasks"]; (got == "0") == (d == tt.unified) {
					t.Errorf("thread in %s: %q", d, got)
				}
			}
			log := len(m.log)
			if again, err := p.MakeApp("web", Limits{Memory: 4096, CPUShares: 512, CPU: 500}); err != nil || !slices.Equal(again, app) || len(m.log) == log {
				t.Errorf("again: %v, %v", again, err)
			}
		})
	}
}

// TestPodNone: a host that cannot track processes is refused, and so is one
// whose record cannot be written.
func TestPodNone(t *testing.T) {
	h, m := podHost(t, "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/\n")
	if p, err := h.MakePod("pod", PodOptions{}, func([]string) error { return nil }); err == nil || len(m.log) > 0 {
		t.Errorf("%+v, %v", p, m.log)
	}
	full := errors.New("disk full")
	h, m = podHost(t, v1Hosts+hybridMore, v1Own+"0::/s\n")
	if _, err := h.MakePod("pod", PodOptions{}, func([]string) error { return full }); !errors.Is(err, full) || len(m.log) > 0 {
		t.Errorf("%v, %v", err, m.log)
	}
}

func TestOpenPod(t *testing.T) {
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, hi := range h.hierarchies {
		if !hi.v2 {
			continue
		}
		p, err := OpenPod(os.Getpid(), "pod", "", []string{"/sys/fs/other/pod", hi.mount + "/x/pod"}, nil)
		if err != nil || p.Unified() != hi.mount+"/x/pod" || len(p.Paths()) != 2 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if p, err := OpenPod(os.Getpid(), "pod", "", nil, nil); err != nil || p.Unified() != "" || p.Whole() {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := OpenPod(1<<30, "pod", "", nil, nil); err == nil {
		t.Error("of a process that is not there")
	}
	p, err := OpenPod(os.Getpid(), "pod", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if unified, v1, err := p.Tracking(os.Getpid()); err != nil || unified == "" && v1 == "" {
		t.Errorf("%q, %q, %v", unified, v1, err)
	}
	if _, _, err := p.Tracking(1 << 30); err == nil {
		t.Error("of a process that is not there")
	}
}

func TestOOMKills(t *testing.T) {
	for text, want := range map[string]int64{
		"low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n": 2, "oom_kill 0\n": 0, "oom 3\n": -1, "oom_kill x\n": -1, "": -1,
	} {
		dir := t.TempDir()
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			n, ok := OOMKills(dir)
			if ok != (want >= 0) || ok && n != want {
				t.Errorf("%q: %d, %v", text, n, ok)
			}
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMoveTo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MoveTo([]string{dir}, 42); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || string(got) != "42" {
		t.Errorf("%q, %v", got, err)
	}
	if err := MoveTo([]string{dir + "/gone"}, 42); err == nil {
		t.Error("a directory that is not there")
	}
}
