// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func TestPidsLimit(t *testing.T) {
	for _, tt := range []struct {
		name     string
		app, pod int
	}{{"of the app", 25, 0}, {"of the pod", 50, 25}, {"of the app in the pod's", 25, 50}} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPod(t)
			p.app().Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.PidsFlag(tt.app))}
			if tt.pod > 0 {
				p.pod.Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.PidsFlag(tt.pod))}
			}
			p.exec("fork")
			r := p.run(entrypoint.Run{})
			n, err := strconv.Atoi(strings.TrimSpace(r.stdout))
			if err != nil || r.status != 0 || n == 0 || n >= 25 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestIOWeight(t *testing.T) {
	p := newPod(t)
	weight := must[appc.Isolator](t)(isolator.IOWeightFlag(5000))
	p.image.App.Isolators = appc.Isolators{weight}
	p.app().Isolators = p.image.App.Isolators
	p.exec("exit", "0")
	r := p.run(entrypoint.Run{})
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	if strings.Contains(r.stderr, "warning: os/linux/io-weight isolator set but support disabled in the kernel, skipping") {
		p.image.App.Isolators = nil // then it is the user's, and so an error
		p.fails(entrypoint.Run{}, "run: cannot apply the isolator os/linux/io-weight: ")
		return
	}
	for dir := range strings.SplitSeq(strings.TrimSpace(p.read(poddir.Cgroups)), "\n") {
		for _, f := range []string{"io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight"} {
			data, err := os.ReadFile(filepath.Join(dir, f))
			if err == nil && strings.TrimSpace(strings.TrimPrefix(string(data), "default ")) != "100" {
				return
			}
		}
	}
	t.Errorf("no weight in %s", p.read(poddir.Cgroups))
}

func TestRlimits(t *testing.T) {
	p := newPod(t)
	p.app().User = "7"
	for _, flag := range []string{"core=0", "nofile=200:300", "stack=4194304:unlimited"} {
		p.app().Isolators = append(p.app().Isolators, must[appc.Isolator](t)(isolator.RlimitFlag(flag)))
	}
	p.exec("cat", "/proc/self/limits")
	r := p.run(entrypoint.Run{})
	got := map[string]string{}
	for line := range strings.Lines(r.stdout) {
		for _, name := range []string{"Max core file size", "Max open files", "Max stack size"} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				got[name] = strings.Join(strings.Fields(rest)[:2], " ")
			}
		}
	}
	// The probe is a Go program, which raises its soft limit of open files.
	if got["Max core file size"] != "0 0" || !strings.HasSuffix(got["Max open files"], " 300") || got["Max stack size"] != "4194304 unlimited" {
		t.Errorf("%v: %+v", got, r)
	}
	if profile := p.read("app-profile.json"); !strings.Contains(profile, `{"cur":200,"max":300}`) {
		t.Errorf("enter would not have the limits: %s", profile)
	}
}

// TestRlimitsNotPermitted: rkt may not raise its own hard limit.
func TestRlimitsNotPermitted(t *testing.T) {
	p := newPod(t)
	var own unix.Rlimit
	p.must(unix.Getrlimit(unix.RLIMIT_NOFILE, &own))
	iso := must[appc.Isolator](t)(isolator.RlimitFlag("nofile=100:" + strconv.FormatUint(own.Max+1, 10)))
	p.wrap = []string{"dropcap", strconv.Itoa(unix.CAP_SYS_RESOURCE)}
	p.app().Isolators = appc.Isolators{iso}
	p.exec("exit", "0")
	p.fails(entrypoint.Run{}, "run: cannot apply the isolator os/unix/rlimits: nofile: operation not permitted: it is above the hard limit of rkt itself")

	p.image.App.Isolators = appc.Isolators{iso}
	r := p.run(entrypoint.Run{})
	if r.status != 0 || r.stderr != "warning: os/unix/rlimits isolator: nofile is above the hard limit of rkt itself, which stays\n" {
		t.Errorf("%+v", r)
	}
	if profile := p.read("app-profile.json"); !strings.Contains(profile, `{"cur":100,"max":`+strconv.FormatUint(own.Max, 10)+`}`) {
		t.Errorf("%s", profile)
	}
}

func TestRefusedIsolators(t *testing.T) {
	sysctl := appc.Isolators{{Name: isolator.Sysctl, Value: []byte(`{"net.ipv4.ip_forward":"1"}`)}}
	for _, tt := range []struct {
		name   string
		change func(*testPod)
		want   string
	}{
		{"sysctl of the pod", func(p *testPod) { p.pod.Isolators = sysctl }, "the fly flavor does not support the isolator os/unix/sysctl (--sysctl): the namespaces are the host's"},
		{"sysctl of the image", func(p *testPod) { p.image.App.Isolators = sysctl }, "isolator os/unix/sysctl: kernel parameters belong to the whole pod"},
		{"weight of the pod", func(p *testPod) {
			p.pod.Isolators = appc.Isolators{must[appc.Isolator](t)(isolator.IOWeightFlag(5))}
		}, "pod: isolator os/linux/io-weight: it counts for an app, not for a pod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPod(t)
			tt.change(p)
			p.fails(entrypoint.Run{}, tt.want)
		})
	}
}
