// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// bridge is the rest of a bridge's configuration with everything a pod needs,
// for IPv4 and IPv6.
func bridge(dev, subnet, subnet6 string) string {
	return `"cniVersion": "1.0.0", "type": "bridge", "bridge": "` + dev + `", "isGateway": true, "ipMasq": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "` + subnet + `"}], [{"subnet": "` + subnet6 + `"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}`
}

// TestNetPort: a forwarded port answers on every address of the host, to
// everybody.
func TestNetPort(t *testing.T) {
	l := newNetLab(t)
	bridged := l.conf("10-bridge.conf", "bridged", bridge("br-test", "11.11.3.0/24", "fd11:3::/64"))
	serve := []string{"tcp::80", "udp::80", "tcp::8080", "tcp::9000", "tcp::9001", "tcp::9002"}
	ports := func(base int) []string {
		return []string{
			fmt.Sprintf("--port=web:%d", base), fmt.Sprintf("--port=web-udp:%d", base), fmt.Sprintf("--port=web:%d", base+1),
			fmt.Sprintf("--port=range:%d", base+10),
		}
	}
	one := l.launch("one", append(ports(7000), "--port=alt:8080"), serve...)
	other := l.launch("other", nil)
	three := l.launch("three", append(ports(7100), "--net="+bridged), serve...)
	neighbour := l.launch("neighbour", []string{"--net=" + bridged})
	l.ready(one, other, three, neighbour)

	for _, tt := range []struct {
		pod      *netPod
		base     int
		gateways []string
	}{
		{one, 7000, []string{"172.16.28.1", one.gateway6()}},
		{three, 7100, []string{"11.11.3.1", "fd11:3::1"}},
	} {
		for _, proto := range protos {
			l.asks(l.Client, proto, at(harness.LabHost, tt.base), tt.pod.name+" saw "+harness.LabClient)
			l.asks(l.Client, proto, at(harness.LabHost6, tt.base), tt.pod.name+" saw "+harness.LabClient6)
			l.asks(l.Outside, proto, at(harness.LabHostOut, tt.base), tt.pod.name+" saw "+harness.LabOutside)
			all := append([]string{"127.0.0.1", harness.LabHost, harness.LabHostOut, harness.LabHost6}, tt.gateways...)
			if proto == "tcp" {
				all = append(all, "::1")
			}
			for _, a := range all {
				l.askName(l.Name, proto, at(a, tt.base), tt.pod.name)
			}
			for _, from := range []*netPod{one, other, three, neighbour} { // itself, too
				l.askName(from.ns(), proto, at(harness.LabHost, tt.base), tt.pod.name)
				l.askName(from.ns(), proto, at(harness.LabHost6, tt.base), tt.pod.name)
			}
			l.askName(tt.pod.ns(), proto, at(tt.gateways[0], tt.base), tt.pod.name)
			l.askName(tt.pod.ns(), proto, at(tt.gateways[1], tt.base), tt.pod.name)
		}
		for _, more := range []int{1, 10, 11, 12} { // two for one, and a range
			l.askName(l.Client, "tcp", at(harness.LabHost, tt.base+more), tt.pod.name)
			l.askName(l.Name, "tcp", at("127.0.0.1", tt.base+more), tt.pod.name)
		}
		l.cannot(l.Client, "tcp", at(harness.LabHost, tt.base+13))
	}
	for _, from := range []string{l.Client, l.Name, one.ns(), other.ns()} {
		l.askName(from, "tcp", at(harness.LabHost, 8080), "one")
	}

	bind := func(where string) string {
		out, _ := l.In(l.Name, "timeout", "1", l.probe, "serve", "x", where)
		return out
	}
	held := []string{"tcp:0.0.0.0:7000", "tcp::7000", "tcp:127.0.0.1:7001", "tcp:[::1]:8080", "udp:127.0.0.1:7000", "udp:0.0.0.0:7000", "tcp:0.0.0.0:7012"}
	for _, where := range held {
		if got := bind(where); !strings.Contains(got, "address already in use") {
			t.Errorf("bind %s while a pod has the port: %q", where, got)
		}
	}
	l.OK("stop", one.UUID)
	one.Wait()
	for _, where := range held {
		if got := bind(where); got != "ready\n" {
			t.Errorf("bind %s after the pod has ended: %q", where, got)
		}
	}
	// Before it is collected.
	l.serve(l.Name, "host", "tcp::7000", "udp:127.0.0.1:7000")
	l.asks(l.Name, "tcp", "127.0.0.1:7000", "host saw 127.0.0.1")
	l.asks(l.Name, "udp", "127.0.0.1:7000", "host saw 127.0.0.1")
	l.asks(l.Client, "tcp", at(harness.LabHost, 7000), "host saw "+harness.LabClient)
	l.OK("rm", one.UUID)
	l.askName(l.Client, "tcp", at(harness.LabHost, 7100), "three")
}

// gateway6 is the host's IPv6 address on the pod's first network.
func (p *netPod) gateway6() string {
	prefix, _, _ := strings.Cut(p.ip(true), "::")
	return prefix + "::1"
}

// askName asks and wants an answer of that server, whomever it saw.
func (l *netLab) askName(ns, proto, addr, name string) {
	l.t.Helper()
	got, err := l.In(ns, l.probe, "ask", proto, addr)
	if err != nil || !strings.HasPrefix(got, name+" saw ") {
		l.t.Errorf("%s asks %s %s: %q, %v; want %s", ns, proto, addr, got, err, name)
	}
}

// TestNetPortHostIP: a port for one address of the host is on no other.
func TestNetPortHostIP(t *testing.T) {
	l := newNetLab(t)
	// addresses that the first pod of a network brings to the host
	bridged := l.conf("10-bridge.conf", "bridged", bridge("br-test", "11.11.3.0/24", "fd11:3::/64"))
	three := l.launch("three", []string{"--port=web:172.16.28.1:7000", "--port=web:[fd72:6b74:1c::1]:7000"})
	four := l.launch("four", []string{"--net=" + bridged, "--port=web:11.11.3.1:7000", "--port=web:[fd11:3::1]:7000", "--port=web-udp:[fd11:3::1]:7000"})
	l.ready(three, four)
	one := l.launch("one", []string{"--port=web:" + at(harness.LabHost, 7000), "--port=web-udp:" + at(harness.LabHost, 7000), "--port=web:" + at(harness.LabHost6, 7001)})
	two := l.launch("two", []string{"--port=web:127.0.0.1:7000", "--port=web:[::1]:7000"})
	l.ready(one, two)
	for _, proto := range protos {
		l.asks(l.Client, proto, at(harness.LabHost, 7000), "one saw "+harness.LabClient)
		l.askName(l.Name, proto, at(harness.LabHost, 7000), "one")
		l.askName(two.ns(), proto, at(harness.LabHost, 7000), "one")
		l.askName(one.ns(), proto, at(harness.LabHost, 7000), "one")
		l.cannot(l.Outside, proto, at(harness.LabHostOut, 7000))
	}
	l.asks(l.Client, "tcp", at(harness.LabHost6, 7001), "one saw "+harness.LabClient6)
	l.cannot(l.Client, "tcp", at(harness.LabHost, 7001))
	l.cannot(l.Name, "tcp", "127.0.0.1:7001")
	l.cannot(l.Name, "tcp", "[::1]:7001")
	l.askName(l.Name, "tcp", "127.0.0.1:7000", "two")
	l.askName(l.Name, "tcp", "[::1]:7000", "two")
	l.cannot(l.Name, "udp", "127.0.0.1:7000")
	l.cannot(l.Client, "tcp", at(harness.LabHost6, 7000))
	for _, from := range []string{l.Name, one.ns(), three.ns()} {
		l.askName(from, "tcp", "172.16.28.1:7000", "three")
		l.askName(from, "tcp", "[fd72:6b74:1c::1]:7000", "three")
	}
	for _, from := range []string{l.Name, four.ns()} {
		l.askName(from, "tcp", "11.11.3.1:7000", "four")
		l.askName(from, "tcp", "[fd11:3::1]:7000", "four")
		l.askName(from, "udp", "[fd11:3::1]:7000", "four")
	}
	two.end()
	l.cannot(l.Name, "tcp", "127.0.0.1:7000")
	l.askName(l.Name, "tcp", "172.16.28.1:7000", "three")
}

// TestNetPortRefused: a pod whose ports cannot be had does not start, and says
// who has them.
func TestNetPortRefused(t *testing.T) {
	l := newNetLab(t)
	l.serve(l.Name, "host", "tcp:0.0.0.0:7000", "udp:127.0.0.1:7001", "tcp:[::1]:7002")
	macvlan := l.conf("10-macvlan.conf", "macvlan", `"type": "macvlan", "master": "lab0", "ipam": {"type": "host-local", "subnet": "10.91.7.0/24"}`)
	p := l.launch("pod", []string{"--port=web:7100", "--port=web-udp:7100"})
	l.ready(p)
	for _, tt := range []struct {
		want  string
		flags []string
	}{
		{"7000 is already in use by netprobe (process ", []string{"--port=web:7000"}},
		{"7001 is already in use by netprobe (process ", []string{"--port=web-udp:7001"}},
		{"7002 is already in use by netprobe (process ", []string{"--port=web:7002"}},
		{"7100 is already in use by pod " + p.UUID, []string{"--port=web:7100"}},
		{"7100 is already in use by pod " + p.UUID, []string{"--port=web-udp:127.0.0.1:7100"}},
		{"7101: the host has no such address", []string{"--port=web:10.99.0.1:7101"}},
		{"no interface found with IP", []string{"--port=web:7101", "--net=" + macvlan}},
		{"already mapped to pod port 80", []string{"--port=web:7101", "--port=alt:7101"}},
		{`port name "other" could not be found in any apps`, []string{"--port=other:7101"}},
	} {
		r := l.Run(append(append([]string{"run", l.stage1}, tt.flags...), l.app("refused")...)...)
		if r.Status != 254 || !strings.Contains(r.Stderr, tt.want) || strings.Contains(r.Stdout, "ready") {
			t.Errorf("want 254 and %q: %s", tt.want, r)
		}
	}
	for _, proto := range protos {
		l.asks(l.Client, proto, at(harness.LabHost, 7100), "pod saw "+harness.LabClient)
	}
	for _, dev := range l.Links() {
		if strings.HasPrefix(dev, "veth") {
			if out, _ := l.In(l.Name, "ip", "-d", "link", "show", "dev", dev); !strings.Contains(out, "link-netns "+p.ns()) {
				t.Errorf("interface of a pod that did not start: %s", out)
			}
		}
	}
}

// TestNetPortSandbox: the ports of a pod without apps lead to those that come.
func TestNetPortSandbox(t *testing.T) {
	l := newNetLab(t)
	file := t.TempDir() + "/uuid"
	proc := l.Start("app", "sandbox", l.stage1, "--uuid-file-save="+file, "--port=any:tcp:81:0.0.0.0:7000", "--port=some:udp:81:"+harness.LabHost+":7001")
	uuid := waitFile(t, file)
	t.Cleanup(func() {
		l.Run("stop", "--force", uuid)
		proc.Wait()
	})
	l.OK("status", "--wait-ready", uuid)
	l.OK("app", "add", uuid, l.image, "--name=late", "--exec=/bin/netprobe", "--", "serve", "late", "tcp::81", "udp::81")
	l.OK("app", "start", uuid, "--app=late")
	l.askName(l.Client, "tcp", at(harness.LabHost, 7000), "late")
	l.askName(l.Name, "tcp", "127.0.0.1:7000", "late")
	l.askName(l.Client, "udp", at(harness.LabHost, 7001), "late")
	l.cannot(l.Outside, "udp", at(harness.LabHostOut, 7001))
}
