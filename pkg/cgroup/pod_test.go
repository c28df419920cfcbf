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
	for _, tt := range []struct {
		name  string
		own   string
		procs map[string][]string
		subs  map[string][]string
		pod   string
		moved bool // this process is in the supervisor's group then
	}{
		{"at the root", "/", map[string][]string{v2Root: {"1", self}}, map[string][]string{}, v2Root + "/pod", false},
		{
			"alone in a service", "/system.slice/a.service",
			map[string][]string{v2Root: {"1"}, v2Root + "/system.slice": nil, v2Root + "/system.slice/a.service": {self}},
			map[string][]string{v2Root: all, v2Root + "/system.slice": all},
			v2Root + "/system.slice/a.service/pod", true,
		},
		{
			"in a session with others", "/user.slice/s.scope",
			map[string][]string{v2Root: nil, v2Root + "/user.slice": nil, v2Root + "/user.slice/s.scope": {"7", self}},
			map[string][]string{v2Root: all, v2Root + "/user.slice": all},
			v2Root + "/user.slice/pod", false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &model{mount: v2Root, procs: tt.procs, subs: tt.subs, top: all, files: map[string]string{}}
			h := unifiedHost(t, m, tt.own)
			r := recorder{t: t, m: m}
			p, err := h.MakePod("pod", r.record)
			if err != nil {
				t.Fatal(err, m.log)
			}
			if p.Unified() != tt.pod || p.Relative() != strings.TrimPrefix(tt.pod, v2Root+"/") || !p.Whole() || !slices.Contains(r.got, tt.pod) {
				t.Errorf("unified %s, relative %s, whole %v, recorded %v", p.Unified(), p.Relative(), p.Whole(), r.got)
			}
			if !p.HasUnified(Memory) || p.HasV1(Memory) || p.HasUnified("rdma") {
				t.Error("controllers")
			}
			if got := m.subs[tt.pod]; !slices.Equal(got, all) {
				t.Errorf("handed down to the pod's children: %v", got)
			}
			if got := slices.Contains(m.procs[tt.pod+"/"+SupervisorGroup], self); got != tt.moved {
				t.Errorf("this process in the supervisor's group: %v", got)
			}
			if slices.Contains(m.procs[tt.pod], self) {
				t.Error("a process in a group that has children with controllers")
			}
			if err := p.SetUnified(Limits{Memory: 4096, Pids: 7}); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{tt.pod + "/memory.max": "4096", tt.pod + "/memory.swap.max": "0", tt.pod + "/pids.max": "7"}
			if diff := cmp.Diff(want, m.files); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var none *NoControllerError
			if err := p.SetUnified(Limits{IOWeight: 5}); !errors.As(err, &none) {
				t.Errorf("a controller that is not there: %v", err)
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
		})
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
			p, err := h.MakePod("pod", r.record)
			if err != nil {
				t.Fatal(err)
			}
			if p.Unified() != tt.unified || p.Relative() != tt.relative || p.Whole() || !slices.Equal(p.Paths(), tt.paths) || !slices.Equal(r.got, tt.paths) {
				t.Errorf("unified %s, relative %s, whole %v, paths %v, recorded %v", p.Unified(), p.Relative(), p.Whole(), p.Paths(), r.got)
			}
			if !p.HasV1(Memory) || p.HasUnified(Memory) {
				t.Error("memory is on v1")
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
	if p, err := h.MakePod("pod", func([]string) error { return nil }); err == nil || len(m.log) > 0 {
		t.Errorf("%+v, %v", p, m.log)
	}
	full := errors.New("disk full")
	h, m = podHost(t, v1Hosts+hybridMore, v1Own+"0::/s\n")
	if _, err := h.MakePod("pod", func([]string) error { return full }); !errors.Is(err, full) || len(m.log) > 0 {
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
		p, err := OpenPod(os.Getpid(), "pod", []string{"/sys/fs/other/pod", hi.mount + "/x/pod"}, nil)
		if err != nil || p.Unified() != hi.mount+"/x/pod" || len(p.Paths()) != 2 {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if p, err := OpenPod(os.Getpid(), "pod", nil, nil); err != nil || p.Unified() != "" || p.Whole() {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := OpenPod(1<<30, "pod", nil, nil); err == nil {
		t.Error("of a process that is not there")
	}
	p, err := OpenPod(os.Getpid(), "pod", nil, nil)
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
