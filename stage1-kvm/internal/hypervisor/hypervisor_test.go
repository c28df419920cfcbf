// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/isolator"
)

func limits(milli, bytes int64) *isolator.Plan {
	p := &isolator.Plan{}
	if milli != 0 {
		p.CPU = &isolator.Resource{Limit: milli}
	}
	if bytes != 0 {
		p.Memory = &isolator.Resource{Limit: bytes}
	}
	return p
}

// TestSize: the rules of spec stage1-flavors.md C.2.
func TestSize(t *testing.T) {
	const gib = 1 << 30
	for name, tt := range map[string]struct {
		apps []*isolator.Plan
		pod  *isolator.Plan
		host int
		want Size
	}{
		"nothing asked":              {nil, nil, 4, Size{4, 512}},
		"plans without limits":       {[]*isolator.Plan{{}, nil}, &isolator.Plan{}, 4, Size{4, 512}},
		"a request is no limit":      {[]*isolator.Plan{{CPU: &isolator.Resource{Request: 1000}}}, nil, 4, Size{4, 512}},
		"rounded up for each app":    {[]*isolator.Plan{limits(100, 0), limits(1001, 0)}, nil, 8, Size{3, 512}},
		"no more than the host has":  {[]*isolator.Plan{limits(9000, 0)}, nil, 4, Size{4, 512}},
		"memory, rounded down":       {[]*isolator.Plan{limits(0, gib+1), limits(0, mib-1), limits(0, gib)}, nil, 1, Size{1, 2048 + 128}},
		"at least 512":               {[]*isolator.Plan{limits(0, mib)}, nil, 1, Size{1, 512}},
		"the pod's limit is smaller": {[]*isolator.Plan{limits(4000, 4*gib)}, limits(2000, gib), 8, Size{2, 1024 + 128}},
		"the pod's limit is larger":  {[]*isolator.Plan{limits(1000, gib)}, limits(4000, 4*gib), 8, Size{1, 1024 + 128}},
		"the pod's alone":            {[]*isolator.Plan{{}}, limits(1500, 2*gib), 8, Size{2, 2048 + 128}},
		"no number of processors":    {nil, nil, 0, Size{1, 512}},
		"more than a q35 takes":      {nil, nil, 1024, Size{255, 512}},
		"limits without end":         {[]*isolator.Plan{limits(1<<62, 1<<62), limits(1<<62, 1<<62)}, nil, 2, Size{2, 2<<24 + 128}},
	} {
		if got := SizeOf(tt.apps, tt.pod, tt.host); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestArgv: golden, word for word.
func TestArgv(t *testing.T) {
	m := Machine{
		Accel: TCG, Size: Size{2, 640}, ShareFD: 3, AgentFD: 4, ShareTag: "pod", AgentPort: "rkt.agent",
		Cards: []Card{{5, "0a:58:0a:01:00:02"}, {6, "0a:58:0a:02:00:02"}},
	}
	want := strings.Fields(`/usr/lib/rkt/ld.so --library-path /usr/lib /usr/bin/qemu-system-x86_64 -L /usr/share/qemu
		-nodefaults -no-user-config -display none -no-reboot
		-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
		-machine q35,usb=off,smbus=off,sata=off,vmport=off,memory-backend=mem,accel=tcg -cpu Nehalem -smp 2 -m 640M
		-object memory-backend-memfd,id=mem,share=on,size=640M
		-kernel /usr/lib/rkt/kvm/vmlinux -initrd /usr/lib/rkt/kvm/initramfs -append @
		-chardev stdio,id=console,signal=off -serial chardev:console -device virtio-rng-pci
		-chardev socket,id=share,fd=3 -device vhost-user-fs-pci,chardev=share,queue-size=1024,tag=pod
		-chardev socket,id=agent,fd=4 -device virtio-serial-pci,max_ports=2 -device virtserialport,chardev=agent,name=rkt.agent
		-netdev tap,id=net0,fd=5 -device virtio-net-pci,netdev=net0,mac=0a:58:0a:01:00:02,romfile=
		-netdev tap,id=net1,fd=6 -device virtio-net-pci,netdev=net1,mac=0a:58:0a:02:00:02,romfile=`)
	got := m.Argv()
	i := slices.Index(got, "-append") + 1
	const line = "console=ttyS0 panic=-1 no_timer_check rdinit=/init systemd.unified_cgroup_hierarchy=1 mitigations=off tsc=unstable quiet loglevel=1"
	if got[i] != line {
		t.Errorf("command line %q", got[i])
	}
	got[i] = "@"
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// With a processor of its own the guest keeps what protects it.
	m.Accel, m.Debug, m.Append = KVM, true, "x=y"
	m.Kernel = "/my/kernel"
	got = m.ArgvBelow("/tree")
	if line := got[slices.Index(got, "-append")+1]; strings.Contains(line, "mitigations") || strings.Contains(line, "quiet") || !strings.HasSuffix(line, " x=y") {
		t.Errorf("command line %q", line)
	}
	if got[slices.Index(got, "-kernel")+1] != "/my/kernel" || got[slices.Index(got, "-cpu")+1] != "host" || got[0] != "/tree/usr/lib/rkt/ld.so" {
		t.Errorf("%q", got)
	}
}

// TestVirtiofsdArgv: a path cannot add options of its own.
func TestVirtiofsdArgv(t *testing.T) {
	got := VirtiofsdArgv("/t", 3, `/data,sandbox=none\/pod`)
	if !slices.Contains(got, `source=/data\,sandbox=none\\/pod`) {
		t.Errorf("%q", got)
	}
	for _, want := range []string{"sandbox=namespace", "modcaps=-mknod", "--fd=3"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
}
