// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCapabilities(t *testing.T) {
	for _, user := range []string{"0", "7"} {
		p := newPod(t)
		p.app().User = user
		p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.CapsRetainFlag([]string{"CAP_KILL", "CAP_NET_ADMIN"}))}
		set := must[caps.Set](t)(caps.Parse([]string{"CAP_KILL", "CAP_NET_ADMIN"}))
		r := p.report(entrypoint.Run{})
		effective := uint64(set)
		if user != "0" {
			effective = 0
		}
		if r.Status["CapBnd"] != hex(uint64(set)) || r.Status["CapEff"] != hex(effective) || r.Status["CapPrm"] != hex(effective) {
			t.Errorf("user %s: bounding %s, effective %s, permitted %s", user, r.Status["CapBnd"], r.Status["CapEff"], r.Status["CapPrm"])
		}
		p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.CapsRemoveFlag([]string{"CAP_MKNOD", "CAP_SYS_ADMIN"}))}
		if r := p.report(entrypoint.Run{}); r.Status["CapBnd"] != hex(uint64(caps.Default&^(1<<27))) {
			t.Errorf("user %s: bounding %s, effective %s, permitted %s", user, r.Status["CapBnd"], r.Status["CapEff"], r.Status["CapPrm"])
		}
		if r := p.report(entrypoint.Run{DisableCapabilities: true}); r.Status["CapBnd"] != ownBounding(t) {
			t.Errorf("user %s: bounding %s, effective %s, permitted %s", user, r.Status["CapBnd"], r.Status["CapEff"], r.Status["CapPrm"])
		}
	}
}

func TestSeccomp(t *testing.T) {
	for _, tt := range []struct {
		name, flag, user string
		nnp              string
		run              entrypoint.Run
		status           int
		signal           syscall.Signal
		stderr           string
	}{
		{"errno", "mode=remove,errno=EXDEV,mkdir,mkdirat", "0", "0", entrypoint.Run{}, 1, 0, "invalid cross-device link"},
		{"kill", "mode=remove,mkdir,mkdirat", "0", "0", entrypoint.Run{}, -1, syscall.SIGSYS, ""},
		{"other calls", "mode=remove,swapon", "0", "0", entrypoint.Run{}, 0, 0, ""},
		{"user", "mode=remove,swapon", "7", "1", entrypoint.Run{}, 0, 0, ""},
		{"default list", "mode=retain,@rkt/default-whitelist,epoll_pwait,rseq,clone3,getrandom,pidfd_open,eventfd2", "0", "0", entrypoint.Run{}, 0, 0, ""},
		{"switched off", "mode=remove,mkdir,mkdirat", "0", "0", entrypoint.Run{DisableSeccomp: true}, 0, 0, ""},
		{"all", "mode=retain,@appc.io/all", "0", "0", entrypoint.Run{}, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPod(t)
			p.must(os.Chmod(filepath.Join(p.root, "opt"), 0o777))
			p.app().User = tt.user
			p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.SeccompFlag(tt.flag))}
			p.exec("mkdir", "/opt/d")
			r := p.run(tt.run)
			if r.status != tt.status || r.signal != tt.signal || !strings.Contains(r.stderr, tt.stderr) {
				t.Errorf("%+v", r)
			}
			if tt.status != 0 {
				return
			}
			p.exec("report")
			rep := p.report(tt.run)
			filtered := "2"
			if tt.run.DisableSeccomp || tt.name == "all" {
				filtered = "0"
			}
			if rep.Status["Seccomp"] != filtered || rep.Status["NoNewPrivs"] != tt.nnp {
				t.Errorf("Seccomp %s, NoNewPrivs %s", rep.Status["Seccomp"], rep.Status["NoNewPrivs"])
			}
		})
	}
}

// TestSeccompDiagnosis: with a filter the diagnosis comes before.
func TestSeccompDiagnosis(t *testing.T) {
	p := newPod(t)
	p.app().Exec = []string{"/bin/none"}
	p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.SeccompFlag("mode=retain,read"))}
	p.fails(entrypoint.Run{}, `Error: Unable to open "/bin/none": No such file or directory`)
}

func TestNoNewPrivs(t *testing.T) {
	p := newPod(t)
	p.app().Isolators = appc.Isolators{{Name: isolator.NoNewPrivs, Value: []byte("true")}}
	if r := p.report(entrypoint.Run{}); r.Status["NoNewPrivs"] != "1" {
		t.Errorf("%v", r.Status)
	}
}

func TestOOMScore(t *testing.T) {
	p := newPod(t)
	p.app().User = "7"
	p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.OOMScoreAdjFlag(321))}
	if r := p.report(entrypoint.Run{}); r.OOM != "321" {
		t.Error(r.OOM)
	}
}

// TestOOMScoreNotPermitted: rkt without CAP_SYS_RESOURCE, in a container say.
func TestOOMScoreNotPermitted(t *testing.T) {
	p := newPod(t)
	iso := must[appc.Isolator](t)(isolator.OOMScoreAdjFlag(-1000))
	p.wrap = []string{"dropcap", strconv.Itoa(unix.CAP_SYS_RESOURCE)}
	p.app().Isolators = appc.Isolators{iso}
	p.fails(entrypoint.Run{}, "run: cannot apply the isolator os/linux/oom-score-adj: set OOM score adjustment: ")

	p.image.App.Isolators = appc.Isolators{iso}
	p.exec("exit", "0")
	r := p.run(entrypoint.Run{})
	if r.status != 0 || !strings.HasPrefix(r.stderr, "warning: os/linux/oom-score-adj isolator set but this host cannot apply it, skipping: ") ||
		strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("%+v", r)
	}
}

// TestCgroupsReadOnly: the host has the controllers, but rkt may not use them.
func TestCgroupsReadOnly(t *testing.T) {
	p := newPod(t)
	p.attr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	p.wrap = []string{"rocgroups"}
	memory, shares := must[appc.Isolator](t)(isolator.MemoryFlag("64Mi")), must[appc.Isolator](t)(isolator.CPUSharesFlag(300))
	p.image.App.Isolators = appc.Isolators{memory, shares}
	p.exec("exit", "0")
	r := p.run(entrypoint.Run{})
	if r.status != 0 || strings.Count(r.stderr, "\n") != 2 ||
		!strings.Contains(r.stderr, "warning: resource/memory isolator set but this host cannot apply it, skipping: ") ||
		!strings.Contains(r.stderr, "warning: os/linux/cpu-shares isolator set but this host cannot apply it, skipping: ") {
		t.Errorf("%+v", r)
	}
	p.image.App.Isolators = nil
	p.app().Isolators = appc.Isolators{memory}
	p.fails(entrypoint.Run{}, "run: make cgroup: ")
}

func TestCgroupLimits(t *testing.T) {
	p := newPod(t)
	p.app().Isolators = appc.Isolators{
		must[appc.Isolator](t)(isolator.MemoryFlag("64Mi")), must[appc.Isolator](t)(isolator.CPUFlag("900m")),
		must[appc.Isolator](t)(isolator.CPUSharesFlag(512)),
	}
	r := p.report(entrypoint.Run{})
	if !strings.Contains(r.Cgroup, p.id.Scope()) {
		t.Fatalf("not in a cgroup of its own: %s", r.Cgroup)
	}
	paths := strings.Split(strings.TrimSpace(p.read(poddir.Cgroups)), "\n")
	found := map[string]string{}
	for _, dir := range paths {
		for _, f := range []string{"memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max", "cpu.shares", "cpu.weight"} {
			if data, err := os.ReadFile(filepath.Join(dir, f)); err == nil {
				found[strings.Split(f, ".")[0]+strings.TrimSpace(string(data))] = f
			}
		}
	}
	for _, alternatives := range [][]string{{"memory67108864"}, {"cpu90000", "cpu90000 100000"}, {"cpu512", "cpu20"}} {
		ok := false
		for _, a := range alternatives {
			ok = ok || found[a] != ""
		}
		if !ok {
			t.Errorf("none of %v in %v", alternatives, found)
		}
	}
	if sub := p.read(poddir.Subcgroup); !strings.HasSuffix(sub, p.id.Scope()) || strings.HasPrefix(sub, "/") || !strings.HasSuffix(paths[0], sub) {
		t.Errorf("subcgroup %q of %q", sub, paths)
	}
	p.exec("eat")
	if r := p.run(entrypoint.Run{}); r.signal != syscall.SIGKILL {
		t.Errorf("256 MiB in 64 MiB: %+v", r)
	}
	// The directories stay until gc, which the end of the test calls.
	if _, err := os.Stat(paths[0]); err != nil {
		t.Error(err)
	}
}

// TestTightMemory: what runs before the app is not charged to it.
func TestTightMemory(t *testing.T) {
	p := newPod(t)
	p.image.App.Isolators = appc.Isolators{{Name: isolator.Memory, Value: []byte(`{"limit":"4Mi"}`)}}
	p.app().Isolators = p.image.App.Isolators
	p.exec("exit", "0")
	if r := p.run(entrypoint.Run{}); r.status != 0 {
		t.Errorf("%+v", r)
	}
}

func TestPodLimit(t *testing.T) {
	p := newPod(t)
	p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.MemoryFlag("512Mi"))}
	p.pod.Isolators = []appc.Isolator{must[appc.Isolator](t)(isolator.MemoryFlag("64Mi"))}
	p.exec("eat")
	if r := p.run(entrypoint.Run{}); r.signal != syscall.SIGKILL {
		t.Errorf("256 MiB in 64 MiB: %+v", r)
	}
}
