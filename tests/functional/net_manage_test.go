// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestNetShown: what commands tell about the networks of pods.
func TestNetShown(t *testing.T) {
	l := newNetLab(t)
	second := l.conf("99-second.conf", "second", `"type": "bridge", "bridge": "br-second", "ipam": {"type": "host-local", "subnet": "11.17.1.0/24"}`)
	p := l.launch("pod", []string{"--net=default," + second})
	none := l.launch("none", []string{"--net=none"})
	l.ready(p, none)
	nets := p.nets()
	if len(nets) != 2 {
		t.Fatalf("%+v", nets)
	}
	line := "default:ip4=" + nets[0].IP + ", " + second + ":ip4=" + nets[1].IP
	check := func() {
		t.Helper()
		if got := l.Status(p.UUID)["networks"]; got != line {
			t.Errorf("status: networks=%q, want %q", got, line)
		}
		list := l.OK("list", "--full")
		if !strings.Contains(list, "NETWORKS") || strings.Count(list, line) != 1 {
			t.Errorf("no %q in list:\n%s", line, list)
		}
		for _, cmd := range [][]string{{"status", "--format=json", p.UUID}, {"list", "--format=json"}} {
			checkNetKeys(t, l.OK(cmd...), p.UUID)
		}
	}
	check()
	got := l.OK("net", "list", "--no-legend")
	for i, want := range []string{"default eth0 ", second + " eth1 "} {
		if joined := strings.Join(strings.Fields(got), " "); !strings.Contains(joined, want+strings.Join(nets[i].IPs, ", ")) || strings.Contains(got, none.UUID[:8]) {
			t.Errorf("no %q with its addresses in net list:\n%s", want, got)
		}
	}
	checkNetKeys(t, l.OK("net", "list", "--format=json"), p.UUID)
	if got := l.OK("net", "check", p.UUID); strings.Count(got, "\tok") != 2 {
		t.Errorf("net check:\n%s", got)
	}
	l.OK("stop", p.UUID)
	p.Wait()
	check()
}

// checkNetKeys looks for the keys that rkt 1.30 has.
func checkNetKeys(t *testing.T, text, uuid string) {
	t.Helper()
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	var pods []struct {
		Name, UUID string
		Networks   []map[string]any
	}
	if err := json.Unmarshal([]byte(text), &pods); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, p := range pods {
		if p.Name+p.UUID != uuid {
			continue
		}
		for _, n := range p.Networks {
			for _, key := range []string{"netName", "netConf", "pluginPath", "ifName", "ip", "args", "mask"} {
				if _, ok := n[key].(string); !ok {
					t.Errorf("no %q in %v", key, n)
				}
			}
		}
		if len(p.Networks) == 2 {
			return
		}
	}
	t.Errorf("not the two networks of pod %s: %s", uuid, text)
}

// TestNetRepair: what a firewall that was reloaded has taken away comes back.
func TestNetRepair(t *testing.T) {
	l := newNetLab(t)
	l.serve(l.Outside, "outside", "tcp::70", "udp:"+at(harness.LabOutside, 70))
	one, two := l.launch("one", []string{"--port=web:7000", "--port=web-udp:7000"}), l.launch("two", nil)
	l.ready(one, two)
	works := func() {
		t.Helper()
		for _, p := range []*netPod{one, two} {
			l.asks(p.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
			l.asks(p.ns(), "udp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
		}
		for _, proto := range protos {
			l.asks(l.Client, proto, at(harness.LabHost, 7000), "one saw "+harness.LabClient)
		}
	}
	works()
	l.OK("net", "check")
	for _, tt := range [][]string{{}, {one.UUID, two.UUID}} {
		if out, err := l.In(l.Name, "nft", "flush", "ruleset"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		l.cannot(one.ns(), "tcp", at(harness.LabOutside, 70))
		l.askName(l.Client, "tcp", at(harness.LabHost, 7000), "one") // the supervisor passes it on
		if r := l.Run("net", "check"); r.Status != 1 || strings.Count(r.Stdout, "missing: ") < 3 {
			t.Errorf("net check without rules: %s", r)
		}
		if r := l.Run(append([]string{"net", "repair"}, tt...)...); r.Status != 0 || strings.Count(r.Stdout, "put back: ") < 3 {
			t.Errorf("net repair: %s", r)
		}
		works()
		l.OK("net", "check")
	}
	harness.Command(t, "ip", "-n", two.ns(), "link", "del", "eth0")
	if r := l.Run("net", "repair"); r.Status != 1 || !strings.Contains(r.Stdout, "missing: the interface eth0") {
		t.Errorf("net repair without an interface: %s", r)
	}
}

// TestNetPrepared: the networks of a prepared pod are chosen when it runs, its
// ports when it was prepared.
func TestNetPrepared(t *testing.T) {
	l := newNetLab(t)
	own := l.conf("10-own.conf", "own", bridge("br-own", "11.17.2.0/24", "fd11:17::/64"))
	prepare := func(name string, flags ...string) string {
		args := append(append([]string{"prepare", "--quiet", l.stage1}, flags...), l.app(name)...)
		return strings.TrimSpace(l.OK(args...))
	}
	run := func(uuid, net string) *netPod {
		p := &netPod{Proc: l.Start("run-prepared", "--net="+net, uuid), l: l, name: net, file: filepath.Join(t.TempDir(), "uuid")}
		writeFile(t, p.file, uuid)
		t.Cleanup(func() {
			l.Run("stop", "--force", uuid)
			p.Wait()
		})
		return p
	}
	first, second := run(prepare("first", "--port=web:7000"), own), run(prepare("second", "--port=web:7001"), "default")
	l.ready(first, second)
	l.asks(l.Client, "tcp", at(harness.LabHost, 7000), "first saw "+harness.LabClient)
	l.asks(l.Client, "tcp", at(harness.LabHost, 7001), "second saw "+harness.LabClient)
	if a, b := first.ip(false), second.ip(false); !strings.HasPrefix(a, "11.17.2.") || !strings.HasPrefix(b, "172.16.28.") {
		t.Errorf("addresses %s and %s", a, b)
	}
	l.asks(second.ns(), "tcp", at(harness.LabHost, 7000), "")
}

// TestNetGC: teardown, also where somebody was there before.
func TestNetGC(t *testing.T) {
	l := newNetLab(t)
	br := l.conf("10-br.conf", "br", bridge("br-gc", "11.17.3.0/24", "fd11:18::/64"))
	var pods []*netPod
	for i, name := range []string{"plain", "no-netns", "no-leases", "no-rules", "no-bridge"} {
		pods = append(pods, l.launch(name, []string{"--net=default," + br, fmt.Sprintf("--port=web:%d", 7000+i)}))
	}
	l.ready(pods...)
	for _, p := range pods {
		l.OK("stop", "--force", p.UUID)
		p.Wait()
		if traces := l.NetTraces(p.UUID); len(traces) < 4 {
			t.Errorf("of an exited pod there is only %v", traces)
		}
	}
	remove := func(p *netPod) {
		t.Helper()
		if r := l.Run("rm", p.UUID); r.Status != 0 {
			t.Errorf("pod %s: %s", p.name, r)
		}
		for _, trace := range l.NetTraces(p.UUID) {
			t.Errorf("pod %s: left behind: %s", p.name, trace)
		}
	}
	l.OK("gc") // to garbage
	l.OK("gc")

	noNetNS, noLeases, noRules, noBridge := pods[1], pods[2], pods[3], pods[4]
	path := filepath.Join("/run/netns", noNetNS.ns())
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
	remove(noNetNS)
	for _, trace := range l.NetTraces(noLeases.UUID) {
		if file, ok := strings.CutPrefix(trace, "lease "); ok {
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		}
	}
	remove(noLeases)
	if out, err := l.In(l.Name, "nft", "flush", "ruleset"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	remove(noRules)
	harness.Command(t, "ip", "-n", l.Name, "link", "del", "br-gc")
	remove(noBridge)

	r := l.Run("--debug", "gc", "--grace-period=0s")
	lines := strings.Split(strings.TrimSpace(r.Stderr), "\n")
	if want := "networking: teardown - executing net-plugin bridge"; r.Status != 0 || !strings.HasSuffix(lines[len(lines)-1], want) || !strings.Contains(r.Stderr, "executing net-plugin ptp") {
		t.Errorf("want the last line %q: %s", want, r)
	}
	l.OK("gc", "--grace-period=0s")
	for _, p := range pods {
		for _, trace := range l.NetTraces(p.UUID) {
			t.Errorf("pod %s: left behind: %s", p.name, trace)
		}
	}
}

// TestNetPrivateUsers: a pod with a user namespace has the same network, and its
// apps any port.
func TestNetPrivateUsers(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, flavor := range harness.Flavors("coreos", "host") {
		t.Run(flavor, func(t *testing.T) {
			l := newNetLabOf(t, flavor)
			l.serve(l.Outside, "outside", "tcp::70", "udp:"+at(harness.LabOutside, 70))
			p := l.launch("private", []string{"--private-users", "--port=web:7000", "--port=web-udp:7000"})
			l.ready(p)
			for _, proto := range protos {
				l.asks(l.Name, proto, at(p.ip(false), 80), "private saw 172.16.28.1")
				l.asks(l.Client, proto, at(harness.LabHost, 7000), "private saw "+harness.LabClient)
				r := l.Run("enter", p.UUID, "/bin/netprobe", "ask", proto, at(harness.LabOutside, 70))
				if want := "outside saw " + harness.LabHostOut + "\n"; r.Status != 0 || r.Stdout != want {
					t.Errorf("want %q: %s", want, r)
				}
			}
		})
	}
}
