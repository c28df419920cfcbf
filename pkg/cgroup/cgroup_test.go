// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// files writes settings as a line of FILE=VALUE, with | before what is tried
// next and ? behind what may be missing.
func files(list []setting) string {
	var all []string
	for _, s := range list {
		text := s.file + "=" + s.value
		for o := s.or; o != nil; o = o.or {
			text += "|" + o.file + "=" + o.value
		}
		if s.optional {
			text += "?"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		l          Limits
		controller string
		v2         bool
		want       string
	}{
		{Limits{Memory: 44040192}, Memory, true, "memory.max=44040192, memory.swap.max=0?"},
		{Limits{Memory: 44040192, MemoryLow: 5}, Memory, true, "memory.low=5, memory.max=44040192, memory.swap.max=0?"},
		{Limits{MemoryLow: 5}, Memory, true, "memory.low=5"},
		{Limits{Memory: 44040192, MemoryLow: 5}, Memory, false, "memory.limit_in_bytes=44040192, memory.memsw.limit_in_bytes=44040192?"},
		{Limits{MemoryLow: 5}, Memory, false, ""},
		{Limits{CPU: 900}, CPU, false, "cpu.cfs_period_us=100000, cpu.cfs_quota_us=90000"},
		{Limits{CPU: 900}, CPU, true, "cpu.max=90000 100000"},
		{Limits{CPU: 15}, CPU, true, "cpu.max=1500 100000"},
		{Limits{CPU: 1}, CPU, true, "cpu.max=1000 1000000"},
		{Limits{CPUShares: 512}, CPU, false, "cpu.shares=512"},
		{Limits{CPUShares: 1024}, CPU, true, "cpu.weight=39"},
		{Limits{CPURequest: 1000, CPU: 2000}, CPU, true, "cpu.weight=39, cpu.max=200000 100000"},
		{Limits{Pids: 10}, Pids, true, "pids.max=10"},
		{Limits{Pids: 10}, Pids, false, "pids.max=10"},
		{Limits{Pids: 10}, Memory, true, ""},
		{Limits{IOWeight: 1}, IO, true, "io.weight=1|io.bfq.weight=1"},
		{Limits{IOWeight: 10000}, IO, true, "io.weight=10000|io.bfq.weight=1000"},
		{Limits{IOWeight: 1}, IO, false, "blkio.bfq.weight=1|blkio.weight=10"},
		{Limits{IOWeight: 100}, IO, false, "blkio.bfq.weight=100|blkio.weight=500"},
		{Limits{IOWeight: 10000}, IO, false, "blkio.bfq.weight=1000|blkio.weight=1000"},
		{Limits{IOWeight: 5000}, IO, false, "blkio.bfq.weight=545|blkio.weight=747"},
		{Limits{IOWeight: 50}, IO, true, "io.weight=50|io.bfq.weight=50"},
		{Limits{}, IO, true, ""},
	} {
		if got := files(tt.l.settings(tt.controller, tt.v2)); got != tt.want {
			t.Errorf("%+v %s v2=%v: %s, want %s", tt.l, tt.controller, tt.v2, got, tt.want)
		}
	}
	for shares, want := range map[int64]int64{2: 1, 262144: 10000, 1024: 39, 1 << 30: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("Weight(%d) = %d, want %d", shares, got, want)
		}
	}
	if got := (Limits{Memory: 1, CPURequest: 1, Pids: 1, IOWeight: 1}).Controllers(); !slices.Equal(got, []string{Memory, CPU, Pids, IO}) {
		t.Error(got)
	}
}

// model behaves like cgroup2 in memory: control files and the rule about
// internal processes.
type model struct {
	mount string
	procs map[string][]string // directory -> PIDs
	subs  map[string][]string // directory -> subtree_control
	top   []string            // controllers of the root
	files map[string]string
	log   []string
}

func (m *model) controllers(dir string) []string {
	if dir == m.mount {
		return m.top
	}
	return m.subs[path.Dir(dir)]
}

func (m *model) mkdir(dir string) error {
	m.log = append(m.log, "mkdir "+dir)
	if _, ok := m.procs[dir]; ok {
		return fs.ErrExist
	}
	m.procs[dir] = nil
	return nil
}

func (m *model) rmdir(dir string) error {
	m.log = append(m.log, "rmdir "+dir)
	delete(m.procs, dir)
	return nil
}

func (m *model) children(dir string) (all []string, err error) {
	for d := range m.procs {
		if path.Dir(d) == dir {
			all = append(all, d)
		}
	}
	return all, nil
}

func (m *model) read(file string) (string, error) {
	dir := path.Dir(file)
	if _, ok := m.procs[dir]; !ok {
		return "", fs.ErrNotExist
	}
	switch path.Base(file) {
	case "cgroup.controllers":
		return strings.Join(m.controllers(dir), " "), nil
	case "cgroup.subtree_control":
		return strings.Join(m.subs[dir], " "), nil
	case "cgroup.procs":
		return strings.Join(m.procs[dir], "\n"), nil
	case "cgroup.type":
		if dir != m.mount {
			return "domain", nil
		}
	}
	text, ok := m.files[file]
	if !ok {
		return "", fs.ErrNotExist
	}
	return text, nil
}

func (m *model) write(file, value string) error {
	m.log = append(m.log, "write "+value+" "+file)
	dir := path.Dir(file)
	if _, ok := m.procs[dir]; !ok {
		return fs.ErrNotExist
	}
	switch path.Base(file) {
	case "cgroup.subtree_control":
		if dir != m.mount && len(m.procs[dir]) > 0 && value[0] == '+' {
			return unix.EBUSY
		}
		for word := range strings.FieldsSeq(value) {
			if word[0] == '-' {
				for d := range m.procs {
					if path.Dir(d) == dir && slices.Contains(m.subs[d], word[1:]) {
						return unix.EBUSY
					}
				}
				m.subs[dir] = slices.DeleteFunc(slices.Clone(m.subs[dir]), func(c string) bool { return c == word[1:] })
				continue
			}
			if !slices.Contains(m.controllers(dir), word[1:]) {
				return unix.ENOENT
			}
			m.subs[dir] = append(m.subs[dir], word[1:])
		}
	case "cgroup.procs":
		if value == "0" {
			value = strconv.Itoa(os.Getpid())
		}
		for d, list := range m.procs {
			m.procs[d] = slices.DeleteFunc(list, func(p string) bool { return p == value })
		}
		m.procs[dir] = append(m.procs[dir], value)
	default:
		m.files[file] = value
	}
	return nil
}

// proc makes a fake /proc/self.
func proc(t *testing.T, mountinfo, cgroup string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"mountinfo": mountinfo, "cgroup": cgroup} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const unified = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"

func unifiedHost(t *testing.T, m *model, own string) *Host {
	t.Helper()
	h, err := detect(proc(t, unified, "0::"+own+"\n"), m)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestUnified(t *testing.T) {
	const root = "/sys/fs/cgroup"
	self := strconv.Itoa(os.Getpid())
	all := []string{Memory, CPU, Pids}
	for _, tt := range []struct {
		name   string
		own    string
		procs  map[string][]string
		subs   map[string][]string
		want   string
		record []string
	}{
		{"at the root", "/", map[string][]string{root: {"1", self}}, nil, root + "/pod", []string{root + "/pod"}},
		{
			"alone in a service", "/system.slice/a.service",
			map[string][]string{root: {"1"}, root + "/system.slice": nil, root + "/system.slice/a.service": {self}},
			map[string][]string{root: all, root + "/system.slice": all},
			root + "/system.slice/a.service/pod",
			[]string{root + "/system.slice/a.service/pod"},
		},
		{
			"in a session with others", "/user.slice/s.scope",
			map[string][]string{root: nil, root + "/user.slice": nil, root + "/user.slice/s.scope": {"7", self}},
			map[string][]string{root: all, root + "/user.slice": all},
			root + "/user.slice/pod",
			[]string{root + "/user.slice/s.scope/pod", root + "/user.slice/pod"},
		},
		{
			"already delegated", "/a",
			map[string][]string{root: nil, root + "/a": nil},
			map[string][]string{root: all, root + "/a": all},
			root + "/a/pod",
			[]string{root + "/a/pod"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &model{mount: root, procs: tt.procs, subs: tt.subs, top: all, files: map[string]string{}}
			if m.subs == nil {
				m.subs = map[string][]string{}
			}
			h := unifiedHost(t, m, tt.own)
			var recorded []string
			g, err := h.Make("pod", []string{Memory, CPU}, func(p []string) error {
				recorded = slices.Clone(p)
				if _, made := m.procs[p[len(p)-1]]; made {
					t.Errorf("%v was made before it was recorded", p)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err, m.log)
			}
			if !slices.Equal(g.Paths(), []string{tt.want}) || g.Relative() != strings.TrimPrefix(tt.want, root+"/") {
				t.Errorf("%v, %q", g.Paths(), g.Relative())
			}
			if diff := cmp.Diff(tt.record, recorded); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
			if err := g.Set(Limits{Memory: 4096, CPU: 500}); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{tt.want + "/memory.max": "4096", tt.want + "/memory.swap.max": "0", tt.want + "/cpu.max": "50000 100000"}
			if diff := cmp.Diff(want, m.files); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := joinAll(g.Paths(), m); err != nil || !slices.Contains(m.procs[tt.want], self) {
				t.Errorf("%v, %v", m.procs, err)
			}
		})
	}
}

func TestRecordFails(t *testing.T) {
	m := &model{mount: "/sys/fs/cgroup", procs: map[string][]string{"/sys/fs/cgroup": nil}, subs: map[string][]string{}, top: []string{Memory}}
	h := unifiedHost(t, m, "/")
	bad := errors.New("disk full")
	if _, err := h.Make("pod", []string{Memory}, func([]string) error { return bad }); !errors.Is(err, bad) || len(m.log) != 0 {
		t.Errorf("%v, %v", err, m.log)
	}
	var none *NoControllerError
	if _, err := h.Make("pod", []string{Pids}, func([]string) error { return nil }); !errors.As(err, &none) || none.Controller != Pids {
		t.Error(err)
	}
}

func TestDetect(t *testing.T) {
	const hybrid = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:33 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
36 31 0:32 / /mnt/memory rw - cgroup cgroup rw,memory
37 31 0:39 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	const own = "9:name=systemd:/\n8:pids:/docker/abc/x\n5:blkio:/c\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\nnonsense\n"
	m := &model{mount: "/sys/fs/cgroup/unified", procs: map[string][]string{"/sys/fs/cgroup/unified": nil}}
	h, err := detect(proc(t, hybrid, own), m)
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[string]string{
		Memory: "/sys/fs/cgroup/memory/a/b", CPU: "/sys/fs/cgroup/cpu,cpuacct", Pids: "/sys/fs/cgroup/pids/x", IO: "/sys/fs/cgroup/blkio/c",
	} {
		hi := h.find(c)
		if hi == nil || hi.own != want || hi.v2 {
			t.Errorf("%s: %+v, want %s", c, hi, want)
		}
	}
	if h.Has("rdma") || len(h.hierarchies) != 6 {
		t.Errorf("%+v", h.hierarchies)
	}
	if h, err := detect(proc(t, "", ""), m); err != nil || h.Has(Memory) {
		t.Error("a host without cgroups has no controller")
	}
}

func TestCheck(t *testing.T) {
	for _, p := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/other", "pod", "/x/../pod", "/x/pod/"} {
		if err := Remove(t.Context(), []string{p}, "pod"); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", p, err)
		}
		if err := Kill(t.Context(), []string{p}, "pod"); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if err := Remove(t.Context(), []string{"/"}, ""); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

// lacks is a kernel that does not have some files, and answers writes to
// others with errors.
type lacks struct {
	model
	files  []string
	errors map[string]error
}

func (l *lacks) has(file string) bool { return !slices.Contains(l.files, path.Base(file)) }

func (l *lacks) read(file string) (string, error) {
	if !l.has(file) {
		return "", fs.ErrNotExist
	}
	if _, err := l.model.read(file); err == nil {
		return "", nil
	}
	return "", unix.EACCES // write-only
}

func (l *lacks) write(file, value string) error {
	if !l.has(file) {
		return fs.ErrNotExist
	}
	if err := l.errors[path.Base(file)]; err != nil {
		return err
	}
	return l.model.write(file, value)
}

func TestApply(t *testing.T) {
	for _, tt := range []struct {
		name       string
		controller string
		v2         bool
		limits     Limits
		missing    []string
		errors     map[string]error
		want       string // control files that were written, or
		err        string
	}{
		{"swap", Memory, true, Limits{Memory: 4096}, nil, nil, "memory.max=4096 memory.swap.max=0", ""},
		{"no swap", Memory, true, Limits{Memory: 4096}, []string{"memory.swap.max"}, nil, "memory.max=4096", ""},
		{"no swap accounting on v1", Memory, false, Limits{Memory: 4096}, []string{"memory.memsw.limit_in_bytes"}, nil, "memory.limit_in_bytes=4096", ""},
		{"weight", IO, true, Limits{IOWeight: 5000}, nil, nil, "io.weight=5000", ""},
		{"weight of BFQ", IO, true, Limits{IOWeight: 5000}, []string{"io.weight"}, nil, "io.bfq.weight=545", ""},
		{"weight of old kernels", IO, false, Limits{IOWeight: 5000}, []string{"blkio.bfq.weight"}, nil, "blkio.weight=747", ""},
		{
			"no weight", IO, true,
			Limits{IOWeight: 5000},
			[]string{"io.weight", "io.bfq.weight"},
			nil, "",
			"limit io: the kernel's io cgroup controller cannot do that: file does not exist",
		},
		{
			"in use", Memory, false,
			Limits{Memory: 4096},
			nil,
			map[string]error{"memory.limit_in_bytes": unix.EBUSY},
			"",
			"limit memory: device or resource busy: the processes in the group use more than that already",
		},
		{
			"refused", CPU, true,
			Limits{CPU: 1},
			nil,
			map[string]error{"cpu.max": unix.EINVAL},
			"",
			"limit cpu: invalid argument: the kernel refuses this value",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &lacks{model: model{procs: map[string][]string{"/g": nil}, files: map[string]string{}}, files: tt.missing, errors: tt.errors}
			g := &Group{fs: f, dirs: []dir{{path: "/g", v2: tt.v2, controllers: []string{tt.controller}}}}
			check, err := g.Check(tt.controller, tt.limits), g.Set(tt.limits)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				var none *NoControllerError
				if missing := len(tt.missing) > 0; errors.As(check, &none) != missing || errors.As(err, &none) != missing {
					t.Errorf("Check: %v, Set: %v", check, err)
				}
				return
			}
			var got []string
			for file, value := range f.model.files {
				got = append(got, path.Base(file)+"="+value)
			}
			slices.Sort(got)
			if err := errors.Join(check, err); err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("%v, %v; want %s", got, err, tt.want)
			}
		})
	}
	g := &Group{fs: osFS{}}
	var none *NoControllerError
	if err := g.Check(IO, Limits{}); !errors.As(err, &none) || none.Controller != IO {
		t.Errorf("a controller that the group is not for: %v", err)
	}
}
