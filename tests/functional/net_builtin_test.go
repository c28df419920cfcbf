// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestNetDefault: what a pod reaches and by whom it is reached on the network it
// gets when nobody says which.
func TestNetDefault(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, flavor := range harness.Flavors("coreos", "host") {
		t.Run(flavor, func(t *testing.T) {
			l := newNetLabOf(t, flavor)
			l.serve(l.Outside, "outside", "tcp::70", "udp:"+at(harness.LabOutside, 70), "udp:"+at(harness.LabOutside6, 70))
			l.serve(l.Client, "client", "tcp::70")
			hostAddrs := []string{harness.LabHost, harness.LabHost6, harness.LabHostOut, harness.LabHostOut6}
			where := []string{"tcp::70"}
			for _, a := range hostAddrs {
				where = append(where, "udp:"+at(a, 70))
			}
			l.serve(l.Name, "host", where...)
			exact := remoteAddress(t)
			one, two := l.launch("one", nil), l.launch("two", []string{"--net=default:IP=" + exact})
			l.ready(one, two)

			if two.nets()[0].IP != exact {
				t.Errorf("asked for %s: %+v", exact, two.nets())
			}
			if got := l.Rules(); strings.Count(got, one.UUID) == 0 {
				t.Errorf("no rules of pod %s:\n%s", one.UUID, got)
			}
			for _, proto := range protos {
				l.asks(one.ns(), proto, at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
				l.asks(one.ns(), proto, at(harness.LabOutside6, 70), "outside saw "+harness.LabHostOut6)
				for _, a := range hostAddrs {
					l.asks(one.ns(), proto, at(a, 70), "")
				}
				for _, v6 := range []bool{false, true} {
					l.asks(l.Name, proto, at(one.ip(v6), 80), "")
					l.asks(one.ns(), proto, at(two.ip(v6), 80), "")
					l.asks(two.ns(), proto, at(one.ip(v6), 80), "")
				}
			}
			l.asks(one.ns(), "tcp", at(harness.LabClient, 70), "client saw "+harness.LabHost)
			l.asks(one.ns(), "tcp", at("172.16.28.1", 70), "")
			if ns := strings.TrimSpace(l.OK("enter", one.UUID, "readlink", "/proc/self/ns/net")); ns == l.nsLink(l.Name) || ns == ownNetNS(t) {
				t.Errorf("the pod's namespace is %s, of the host", ns)
			}
			if got, want := strings.TrimSpace(l.OK("enter", one.UUID, "readlink", "/proc/self/ns/net")), l.nsLink(one.ns()); got != want {
				t.Errorf("the app is in %s, not %s", got, want)
			}

			r := l.Run(append([]string{"run", l.stage1, "--net=default:IP=" + exact}, l.app("three")...)...)
			if want := `requested IP address "` + exact + `" is not available in network: default`; r.Status != 254 || !strings.Contains(r.Stderr, want) || strings.Contains(r.Stdout, "ready") {
				t.Errorf("want 254 and %q: %s", want, r)
			}
			l.asks(one.ns(), "tcp", at(exact, 80), "")
			l.asks(two.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
			if flavor == "coreos" {
				two.end()
				four := l.launch("four", []string{"--net=default:IP=" + exact})
				l.ready(four) // the address is free again
				l.asks(one.ns(), "tcp", at(exact, 80), "")
			}
		})
	}
}

// remoteAddress is an address of the default network that no other pod of the
// machine has, nor gets soon: addresses are given out in turn.
func remoteAddress(t *testing.T) string {
	t.Helper()
	const leases, first, many = "/var/lib/cni/networks/default/", 10, 240
	last, _ := os.ReadFile(leases + "last_reserved_ip.0") // there is none before the first pod
	n, _ := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(string(last)), "172.16.28."))
	for i := range many {
		if a := fmt.Sprintf("172.16.28.%d", first+(n+many/2+i)%many); !exists(leases + a) {
			return a
		}
	}
	t.Fatalf("no address left in %s", leases)
	return ""
}

// nsLink is what names a network namespace of the lab in /proc.
func (l *netLab) nsLink(ns string) string {
	l.t.Helper()
	out, err := l.In(ns, "readlink", "/proc/self/ns/net")
	if err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(out)
}

func ownNetNS(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestNetDefaultRestricted: the host and nobody else.
func TestNetDefaultRestricted(t *testing.T) {
	l := newNetLab(t)
	l.serve(l.Outside, "outside", "tcp::70", "udp:"+at(harness.LabOutside, 70))
	l.serve(l.Client, "client", "tcp::70")
	exact := fmt.Sprintf("172.31.%d.%d", 1+rand.IntN(250), 2+rand.IntN(250))
	p := l.launch("pod", []string{"--net=default-restricted:IP=" + exact})
	l.ready(p)
	if got := p.ip(false); got != exact {
		t.Errorf("asked for %s, got %s", exact, got)
	}
	l.serve(l.Name, "host", "tcp::70", "udp:"+at("172.31.0.1", 70))
	gateway6, _, _ := strings.Cut(p.ip(true), "::")
	l.asks(p.ns(), "tcp", at("172.31.0.1", 70), "host saw "+exact)
	l.asks(p.ns(), "udp", at("172.31.0.1", 70), "host saw "+exact)
	l.asks(p.ns(), "tcp", at(gateway6+"::1", 70), "host saw "+p.ip(true))
	for _, proto := range protos {
		l.asks(l.Name, proto, at(exact, 80), "pod saw 172.31.0.1")
		l.asks(l.Name, proto, at(p.ip(true), 80), "pod saw "+gateway6+"::1")
	}
	for _, addr := range []string{harness.LabOutside, harness.LabClient, harness.LabOutside6, harness.LabClient6} {
		l.cannot(p.ns(), "tcp", at(addr, 70))
	}
	l.cannot(p.ns(), "udp", at(harness.LabOutside, 70))
	if got := p.show(); strings.Contains(got, "route eth0 0.0.0.0/0") || strings.Contains(got, "route eth0 ::/0") {
		t.Errorf("has a default route:\n%s", got)
	}
}

// TestNetWithoutIPv6: on a host that has IPv6 switched off, nothing fails.
func TestNetWithoutIPv6(t *testing.T) {
	l := newNetLab(t)
	for _, which := range []string{"all", "default"} {
		if out, err := l.In(l.Name, "sysctl", "-w", "net.ipv6.conf."+which+".disable_ipv6=1"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	l.serve(l.Outside, "outside", "tcp::70")
	p := l.launch("pod", []string{"--net=default,default-restricted", "--port=web:7000", "--port=web-udp:7000"})
	l.ready(p)
	l.asks(p.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
	for _, proto := range protos {
		l.asks(l.Client, proto, at(harness.LabHost, 7000), "pod saw "+harness.LabClient)
		l.askName(l.Name, proto, "127.0.0.1:7000", "pod")
	}
	for _, n := range p.nets() {
		if len(n.IPs) != 1 || n.IP == "" {
			t.Errorf("addresses of %s: %v", n.Name, n.IPs)
		}
	}
}

// TestNetHostNone: no network of the pod's own, or none at all.
func TestNetHostNone(t *testing.T) {
	l := newNetLab(t)
	host := l.launch("host", []string{"--net=host"}, "tcp:0.0.0.0:81", "udp:127.0.0.1:81")
	none := l.launch("none", []string{"--net=none"})
	l.ready(host, none)
	if got := strings.TrimSpace(l.OK("enter", host.UUID, "readlink", "/proc/self/ns/net")); got != l.nsLink(l.Name) {
		t.Errorf("the namespace is %s, not rkt's %s", got, l.nsLink(l.Name))
	}
	for _, proto := range protos {
		l.asks(l.Name, proto, "127.0.0.1:81", "host saw 127.0.0.1")
	}
	l.asks(l.Client, "tcp", at(harness.LabHost, 81), "host saw "+harness.LabClient)

	got := none.show()
	if lines := strings.Split(got, "\n"); slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, "link ") && !strings.HasPrefix(s, "link lo up") }) >= 0 || !strings.Contains(got, "link lo up") {
		t.Errorf("--net=none has\n%s", got)
	}
	l.asks(none.ns(), "tcp", "127.0.0.1:80", "none saw 127.0.0.1")
	l.asks(none.ns(), "udp", "[::1]:80", "none saw ::1")

	// a network that somebody else has made
	l.NetNS = l.Outside
	other := l.launch("other", []string{"--net=host"})
	l.ready(other)
	l.NetNS = l.Name
	l.asks(l.Name, "tcp", at(harness.LabOutside, 80), "other saw "+harness.LabHostOut)
	for uuid, want := range map[string]string{host.UUID: "", none.UUID: "", other.UUID: ""} {
		if s := l.Status(uuid); s["networks"] != want {
			t.Errorf("status of %s: networks=%q", uuid, s["networks"])
		}
	}
	l.Fail(254, "--port flag does not work with 'none' networking", append([]string{"run", l.stage1, "--net=none", "--port=web:80"}, l.app("x")...)...)
	l.Fail(254, "--port flag does not work with 'host' networking", append([]string{"run", l.stage1, "--net=host", "--port=web:80"}, l.app("x")...)...)
}
