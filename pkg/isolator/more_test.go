// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func TestParseMore(t *testing.T) {
	image := appc.Isolators{
		iso(Pids, `{"limit":"100"}`), iso(IOWeight, `50`),
		iso(Rlimits, `{"nofile":{"soft":1,"hard":2},"core":{"hard":0},"memlock":{"soft":"unlimited"}}`),
		iso(SELinuxContext, `{"user":"system_u","role":"system_r","type":"app_t","level":"s0:c1,c2"}`),
		iso(AppArmorProfile, `{"profile":"p"}`),
	}
	flags := appc.Isolators{iso(Pids, `{"default":false,"limit":"5"}`), iso(Rlimits, `{"nofile":{"soft":3,"hard":3}}`)}
	p, err := Parse(Mark(append(slices.Clone(image), flags...), image))
	if err != nil {
		t.Fatal(err)
	}
	want := &Plan{
		Pids:     &Resource{Limit: 5},
		IOWeight: &Int{Value: 50, Origin: FromImage},
		Rlimits: []Rlimit{
			{Name: "core", Resource: unix.RLIMIT_CORE, Origin: FromImage},
			{Name: "nofile", Resource: unix.RLIMIT_NOFILE, Soft: 3, Hard: 3, Origin: FromUser},
			{Name: "memlock", Resource: unix.RLIMIT_MEMLOCK, Soft: Unlimited, Hard: Unlimited, Origin: FromImage},
		},
		SELinux: &SELinux{User: "system_u", Role: "system_r", Type: "app_t", Level: "s0:c1,c2", Origin: FromImage},
		Other:   []Item{{Isolator: image[4], Origin: FromImage}},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := p.SELinux.String(); s != "system_u:system_r:app_t:s0:c1,c2" {
		t.Error(s)
	}
}

func TestParseMoreErrors(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{Pids, `{"limit":"0"}`, "isolator resource/pids: pids limit must be between 1 and 4194304, got 0"},
		{Pids, `{"limit":"4194305"}`, "isolator resource/pids: pids limit must be between 1 and 4194304, got 4194305"},
		{Pids, `{"default":true,"limit":"5"}`, "isolator resource/pids: default must be false"},
		{IOWeight, `0`, "isolator os/linux/io-weight: os/linux/io-weight must be between 1 and 10000, got 0"},
		{IOWeight, `"5"`, "isolator os/linux/io-weight: value is not an integer: "},
		{Rlimits, `{"files":{"soft":1}}`, `isolator os/unix/rlimits: unknown resource "files": it is one of as, core, cpu, `},
		{Rlimits, `{"nofile":{}}`, "isolator os/unix/rlimits: nofile: soft or hard must be set"},
		{Rlimits, `{"nofile":{"soft":2,"hard":1}}`, "isolator os/unix/rlimits: nofile: the soft limit is above the hard one"},
		{Rlimits, `{"nofile":{"soft":"unlimited","hard":1}}`, "isolator os/unix/rlimits: nofile: the soft limit is above the hard one"},
		{Rlimits, `{"nofile":{"soft":-1}}`, "isolator os/unix/rlimits: value is not a set of resource limits: "},
		{Rlimits, `{"nofile":{"soft":1.5}}`, "isolator os/unix/rlimits: value is not a set of resource limits: "},
		{Rlimits, `{"nofile":{"soft":18446744073709551615}}`, "isolator os/unix/rlimits: value is not a set of resource limits: "},
		{SELinuxContext, `{"user":"u","role":"r","type":"t"}`, "isolator os/linux/selinux-context: level: part of a context with 0 bytes"},
		{SELinuxContext, `{"user":"u:x","role":"r","type":"t","level":"s0"}`, `isolator os/linux/selinux-context: user: "u:x" is not part of a context`},
		{SELinuxContext, `{"user":"u","role":"r","type":"t\n","level":"s0"}`, `isolator os/linux/selinux-context: type: "t\n" is not part of a context`},
		{Sysctl, `{"net.ipv4.ip_forward":"1"}`, "isolator os/unix/sysctl: kernel parameters belong to the whole pod, not to an app: "},
	} {
		if _, err := Parse(user(iso(tt.name, tt.value))); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %s", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestParsePod(t *testing.T) {
	p, err := ParsePod(appc.Isolators{
		iso(Memory, `{"limit":"1Gi"}`), iso(CPU, `{"limit":"2"}`), iso(Pids, `{"limit":"7"}`),
		iso(Sysctl, `{"net.ipv4.conf.eth0/1.forwarding":"1","kernel.domainname":"example.com"}`),
		iso(Sysctl, `{"kernel.domainname":"example.org","fs.mqueue.msg_max":"20"}`),
	})
	want := &Plan{
		Memory: &Resource{Limit: 1 << 30}, CPU: &Resource{Limit: 2000}, Pids: &Resource{Limit: 7},
		Sysctls: []KernelParameter{
			{Name: "fs.mqueue.msg_max", Value: "20"},
			{Name: "kernel.domainname", Value: "example.org"},
			{Name: "net.ipv4.conf.eth0/1.forwarding", Value: "1"},
		},
	}
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	if got := p.Sysctls[2].Path(); got != "net/ipv4/conf/eth0.1/forwarding" {
		t.Error(got)
	}
	for _, tt := range []struct {
		own  Namespaces
		want string
	}{
		{Namespaces{Net: true, IPC: true}, ""},
		{Namespaces{IPC: true}, "isolator os/unix/sysctl: the kernel parameter net.ipv4.conf.eth0/1.forwarding needs a network of the pod's own: it has the host's"},
		{Namespaces{Net: true}, "isolator os/unix/sysctl: the kernel parameter fs.mqueue.msg_max needs an IPC namespace of the pod's own: it has the host's"},
	} {
		err := p.CheckSysctls(tt.own)
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%+v: %v, want %s", tt.own, err, tt.want)
		}
	}
	for _, name := range []string{CPUShares, IOWeight, OOMScoreAdj, Rlimits, CapsRetain, CapsRemove, SeccompRetain, SeccompRemove, NoNewPrivs, SELinuxContext} {
		if _, err := ParsePod(appc.Isolators{iso(name, `1`)}); err == nil || err.Error() != "pod: isolator "+name+": it counts for an app, not for a pod" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := ParsePod(appc.Isolators{iso(BlockIOPS, `{"default":true,"limit":"1"}`)}); err != nil || len(p.Other) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestParseSysctl(t *testing.T) {
	for _, ok := range []string{
		"net.core.somaxconn=1024", "net.ipv4.ip_local_port_range=1024\t65000", "kernel.shmmax=1", "kernel.msgmnb=1", "kernel.sem=1 2 3 4",
		"kernel.shm_rmid_forced=1", "fs.mqueue.queues_max=1", "kernel.domainname=x=y",
	} {
		if k, err := ParseSysctl(ok); err != nil || k.Name+"="+k.Value != ok {
			t.Errorf("%q: %+v, %v", ok, k, err)
		}
	}
	const host = " belongs to the host, not to a namespace of the pod"
	for in, want := range map[string]string{
		"":                           "a kernel parameter is NAME=VALUE",
		"net.core.somaxconn":         "a kernel parameter is NAME=VALUE",
		"=1":                         `"" is not the name of a kernel parameter`,
		"net.=1":                     `"net." is not the name of a kernel parameter`,
		"net..x=1":                   `"net..x" is not the name of a kernel parameter`,
		"net.//.x=1":                 `"net.//.x" is not the name of a kernel parameter`,
		"net./.x=1":                  `"net./.x" is not the name of a kernel parameter`,
		"net.a b=1":                  `"net.a b" is not the name of a kernel parameter`,
		"net.ä=1":                    `"net.ä" is not the name of a kernel parameter`,
		"net/core/somaxconn=1":       "the kernel parameter net/core/somaxconn" + host,
		"net=1":                      "the kernel parameter net" + host,
		"kernel.core_pattern=x":      "the kernel parameter kernel.core_pattern" + host,
		"kernel.shmfoo=1":            "the kernel parameter kernel.shmfoo" + host,
		"vm.swappiness=1":            "the kernel parameter vm.swappiness" + host,
		"fs.mqueuex.y=1":             "the kernel parameter fs.mqueuex.y" + host,
		"user.max_user_namespaces=1": "the kernel parameter user.max_user_namespaces" + host,
		"kernel.hostname=x":          "the kernel parameter kernel.hostname is set with --hostname",
		"net.x=":                     `"" is not a value for the kernel parameter net.x`,
		"net.x=1\n2":                 `"1\n2" is not a value for the kernel parameter net.x`,
		"net.x=\x00":                 `"\x00" is not a value for the kernel parameter net.x`,
	} {
		if k, err := ParseSysctl(in); err == nil || err.Error() != want {
			t.Errorf("%q: %+v, %v, want %s", in, k, err, want)
		}
	}
	if _, err := ParseSysctl("net.x=" + strings.Repeat("1", 4096)); err == nil {
		t.Error("a value of 4096 bytes")
	}
}

// FuzzParseSysctl: what is taken stays where the parameters of namespaces are,
// is one line, and comes through the manifest unchanged.
func FuzzParseSysctl(f *testing.F) {
	f.Add("net.ipv4.ip_forward=1")
	f.Add("net.ipv4.conf.eth0/1.forwarding=1")
	f.Add("net.//.//.kernel=1")
	f.Add("kernel.sem=1 2\t3 4")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseSysctl(s)
		if err != nil {
			return
		}
		path := k.Path()
		ok := slices.ContainsFunc([]string{"net/", "fs/mqueue/", "kernel/shm", "kernel/msg", "kernel/sem", "kernel/domainname"}, func(p string) bool {
			return strings.HasPrefix(path, p)
		})
		if !ok || filepath.Clean("/"+path) != "/"+path || strings.ContainsAny(k.Value, "\n\x00") {
			t.Errorf("%q: %q, %q", s, path, k.Value)
		}
		i, err := SysctlIsolator([]KernelParameter{k})
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePod(appc.Isolators{i})
		if err != nil || !slices.Equal(p.Sysctls, []KernelParameter{k}) {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	})
}

func TestRlimitFlag(t *testing.T) {
	for in, want := range map[string]string{
		"nofile=1024":             `{"nofile":{"soft":1024,"hard":1024}}`,
		"nofile=1024:4096":        `{"nofile":{"soft":1024,"hard":4096}}`,
		"core=unlimited":          `{"core":{"soft":"unlimited","hard":"unlimited"}}`,
		"memlock=-1":              `{"memlock":{"soft":"unlimited","hard":"unlimited"}}`,
		"nproc=0:-1":              `{"nproc":{"soft":0,"hard":"unlimited"}}`,
		"cpu=9223372036854775807": `{"cpu":{"soft":9223372036854775807,"hard":9223372036854775807}}`,
	} {
		i, err := RlimitFlag(in)
		if err != nil || string(i.Value) != want || string(i.Name) != Rlimits {
			t.Errorf("%s: %s, %v, want %s", in, i.Value, err, want)
		}
	}
	for in, want := range map[string]string{
		"nofile":                       `"nofile" is not a resource limit: it is NAME=SOFT[:HARD]`,
		"nofile=":                      `nofile: "" is neither a number nor "unlimited"`,
		"nofile=1:":                    `nofile: "1:" is neither a number nor "unlimited"`,
		"nofile=-2":                    `nofile: "-2" is neither a number nor "unlimited"`,
		"nofile=1k":                    `nofile: "1k" is neither a number nor "unlimited"`,
		"nofile=2:1":                   "nofile: the soft limit is above the hard one",
		"NOFILE=1":                     `unknown resource "NOFILE": it is one of as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack`,
		"=1":                           `unknown resource "": it is one of`,
		"nofile=1:9223372036854775808": `nofile: "1:9223372036854775808" is neither a number nor "unlimited"`,
	} {
		if _, err := RlimitFlag(in); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

// FuzzRlimitFlag: what the flag takes, the manifest parser takes, and the kernel could.
func FuzzRlimitFlag(f *testing.F) {
	f.Add("nofile=1024:4096")
	f.Add("core=unlimited")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := RlimitFlag(s)
		if err != nil {
			return
		}
		p, err := Parse(user(i))
		if err != nil || len(p.Rlimits) != 1 {
			t.Fatalf("%q: %v", s, err)
		}
		if r := p.Rlimits[0]; r.Soft > r.Hard || r.Resource < 0 || r.Resource > 15 || !strings.HasPrefix(s, r.Name+"=") {
			t.Errorf("%q: %+v", s, r)
		}
	})
}

func TestNumberFlags(t *testing.T) {
	for _, tt := range []struct {
		f     func(int) (appc.Isolator, error)
		n     int
		name  string
		value string
		fail  string
	}{
		{PidsFlag, 100, Pids, `{"default":false,"limit":"100"}`, ""},
		{PidsFlag, 1 << 22, Pids, `{"default":false,"limit":"4194304"}`, ""},
		{PidsFlag, 0, "", "", "pids limit must be between 1 and 4194304, got 0"},
		{IOWeightFlag, 1, IOWeight, `1`, ""},
		{IOWeightFlag, 10001, "", "", "os/linux/io-weight must be between 1 and 10000, got 10001"},
	} {
		i, err := tt.f(tt.n)
		if tt.fail != "" {
			if err == nil || err.Error() != tt.fail {
				t.Errorf("%v, want %s", err, tt.fail)
			}
			continue
		}
		if err != nil || string(i.Name) != tt.name || string(i.Value) != tt.value {
			t.Errorf("%s %s, %v", i.Name, i.Value, err)
		}
		if _, err := Parse(user(i)); err != nil || !i.IsKnown() {
			t.Errorf("own isolator refused: %v", err)
		}
	}
}
