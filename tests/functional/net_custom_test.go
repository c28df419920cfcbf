// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestNetCustom: networks of the user's own, alone and several at once.
func TestNetCustom(t *testing.T) {
	l := newNetLab(t)
	l.serve(l.Outside, "outside", "tcp::70")
	l.serve(l.Name, "host", "tcp::70")
	ptp := l.conf("50-ptp.conf", "a-very-long-name-of-fifty-five-characters-"+"12345", `"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "11.11.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]}`)
	if len(ptp) < 55 {
		t.Fatalf("%q is short", ptp)
	}
	// as 1.30 had it, with odd case
	br := l.conf("40-bridge.conf", "br", `"Type": "bridge", "bridge": "br-test", "IsGateway": true, "IpMasq": true, "mtu": 1400, "args": ["a=b"],
		"Ipam": {"type": "host-local", "subnet": "11.11.3.0/24", "routes": [{"dst": "0.0.0.0/0"}]}`)
	mac := l.conf("10-macvlan.conf", "mac", `"cniVersion": "0.3.1", "type": "macvlan", "master": "lab0", "ipam": {"type": "host-local", "subnet": "11.11.4.0/24"}`)
	six := l.conf("30-six.conf", "six", `"cniVersion": "1.0.0", "type": "bridge", "bridge": "br-six", "isGateway": true, "ipMasq": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "fd11:6::/64"}]], "routes": [{"dst": "::/0"}]}`)
	static := l.conf("20-static.conf", "static", `"cniVersion": "1.0.0", "type": "bridge", "bridge": "br-static", "isGateway": true,
		"ipam": {"type": "static", "addresses": [{"address": "11.11.5.7/24", "gateway": "11.11.5.1"}]}`)

	one, two := l.launch("one", []string{"--net=" + ptp}), l.launch("two", []string{"--net=" + ptp})
	// the order of the names does not count, that of the files does
	many := l.launch("many", []string{"--net=" + br + "," + six, "--net=" + static + "," + mac + ":IP=11.11.4.77"})
	more := l.launch("more", []string{"--net=" + six + "," + mac + "," + br})
	l.ready(one, two, many, more)

	for _, proto := range protos {
		l.asks(one.ns(), proto, at(two.ip(false), 80), "")
		l.asks(two.ns(), proto, at(one.ip(false), 80), "")
		l.asks(l.Name, proto, at(one.ip(false), 80), "one saw 11.11.1.1")
	}
	l.asks(one.ns(), "tcp", at(harness.LabHost, 70), "")
	l.asks(one.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)

	names := map[string]string{"eth0": mac, "eth1": static, "eth2": six, "eth3": br}
	addr := map[string]string{}
	for _, n := range many.nets() {
		if names[n.IfName] != n.Name {
			t.Errorf("%s is %s, want %s", n.IfName, n.Name, names[n.IfName])
		}
	}
	for _, n := range more.nets() {
		addr[n.Name], _, _ = strings.Cut(n.IPs[0], "/")
	}
	own := map[string]string{}
	for _, n := range many.nets() {
		own[n.Name], _, _ = strings.Cut(n.IPs[0], "/")
	}
	if own[mac] != "11.11.4.77" || own[static] != "11.11.5.7" {
		t.Errorf("addresses %v, want 11.11.4.77 and 11.11.5.7", own)
	}
	for _, name := range []string{mac, six, br} {
		for _, proto := range protos {
			l.asks(many.ns(), proto, at(addr[name], 80), "more saw "+own[name])
			l.asks(more.ns(), proto, at(own[name], 80), "many saw "+addr[name])
		}
	}
	l.cannot(l.Name, "tcp", at(addr[mac], 80))
	l.asks(l.Name, "tcp", at(own[static], 80), "many saw 11.11.5.1")
	l.asks(many.ns(), "tcp", at("11.11.5.1", 70), "host saw 11.11.5.7")
	l.asks(l.Name, "tcp", at(own[br], 80), "many saw 11.11.3.1")
	l.asks(many.ns(), "tcp", at("11.11.3.1", 70), "host saw "+own[br])
	l.asks(many.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
	l.asks(many.ns(), "tcp", at(harness.LabOutside6, 70), "outside saw "+harness.LabHostOut6)
	l.asks(many.ns(), "tcp", at("fd11:6::1", 70), "host saw "+own[six])
	show := many.show()
	for _, want := range []string{"link eth3 up mtu 1400", "addr eth3 " + own[br] + "/24", "route eth3 0.0.0.0/0 via 11.11.3.1", "route eth2 ::/0 via fd11:6::1", "addr eth0 11.11.4.77/24"} {
		if !strings.Contains(show, want+"\n") {
			t.Errorf("no %q in\n%s", want, show)
		}
	}
	// who leaves takes nothing of the others with it
	many.end()
	two.end()
	l.asks(more.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
	l.asks(one.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
}

// TestNetFlannel: a network that flannel hands out is a bridge in the end.
func TestNetFlannel(t *testing.T) {
	l := newNetLab(t)
	l.serve(l.Outside, "outside", "tcp::70")
	env := filepath.Join(t.TempDir(), "subnet.env")
	writeFile(t, env, "FLANNEL_NETWORK=11.18.0.0/16\nFLANNEL_SUBNET=11.18.3.1/24\nFLANNEL_MTU=1420\nFLANNEL_IPMASQ=false\n")
	net := l.conf("10-flannel.conf", "flannel", `"type": "flannel", "subnetFile": "`+env+`", "delegate": {"isDefaultGateway": true, "bridge": "br-flannel"}`)
	one, two := l.launch("one", []string{"--net=" + net, "--port=web:7000"}), l.launch("two", []string{"--net=" + net})
	l.ready(one, two)
	if n := one.nets(); len(n) != 1 || n[0].Name != net || !strings.HasPrefix(n[0].IP, "11.18.3.") {
		t.Errorf("record: %+v", n)
	}
	show := one.show()
	for _, want := range []string{"link eth0 up mtu 1420", "route eth0 0.0.0.0/0 via 11.18.3.1"} {
		if !strings.Contains(show, want+"\n") {
			t.Errorf("no %q in\n%s", want, show)
		}
	}
	for _, proto := range protos {
		l.asks(one.ns(), proto, at(two.ip(false), 80), "two saw "+one.ip(false))
	}
	l.asks(one.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
	l.asks(l.Client, "tcp", at(harness.LabHost, 7000), "one saw "+harness.LabClient)
	one.end()
	two.end()
	for _, p := range []*netPod{one, two} {
		if file := "/var/lib/cni/flannel/" + p.UUID; exists(file) {
			t.Errorf("left behind: %s", file)
		}
	}
}

// TestNetChain: lists of plugins, each of which does its part.
func TestNetChain(t *testing.T) {
	l := newNetLab(t)
	l.serve(l.Outside, "outside", "tcp::70")
	chain := l.conf("10-chain.conflist", "chain", `"cniVersion": "1.0.0", "plugins": [
		{"type": "bridge", "bridge": "br-chain", "isGateway": true, "ipMasq": true, "ipam": {"type": "host-local", "subnet": "11.11.6.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
		{"type": "tuning", "sysctl": {"net.ipv4.ip_default_ttl": "77"}, "mtu": 1300},
		{"type": "firewall", "backend": "iptables"},
		{"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 8000000, "egressRate": 16000000, "egressBurst": 8000000},
		{"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]`)
	p := l.launch("chained", []string{"--net=" + chain, "--port=web:7000", "--port=web-udp:7000", "--port=web:" + at(harness.LabHost, 7001)})
	l.ready(p)
	if got := p.show("/proc/sys/net/ipv4/ip_default_ttl"); !strings.Contains(got, "link eth0 up mtu 1300\n") || !strings.HasSuffix(got, "\n77\n\n") {
		t.Errorf("tuning does not show:\n%s", got)
	}
	if got, err := l.In(l.Name, "tc", "qdisc"); err != nil || !strings.Contains(got, "rate 8Mbit") || !strings.Contains(got, "rate 16Mbit") {
		t.Errorf("bandwidth does not show: %v\n%s", err, got)
	}
	l.asks(p.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
	for _, proto := range protos {
		l.asks(l.Client, proto, at(harness.LabHost, 7000), "chained saw "+harness.LabClient)
		l.askName(l.Name, proto, at("127.0.0.1", 7000), "chained")
	}
	l.askName(l.Client, "tcp", at(harness.LabHost, 7001), "chained")
	l.OK("net", "check")
	if out, err := l.In(l.Name, "nft", "flush", "ruleset"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r := l.Run("net", "check"); r.Status != 1 || !strings.Contains(r.Stdout, "missing: ") {
		t.Errorf("net check without rules: %s", r)
	}
	if r := l.Run("net", "repair"); r.Status != 0 || !strings.Contains(r.Stdout, "put back: ") {
		t.Errorf("net repair: %s", r)
	}
	l.askName(l.Client, "udp", at(harness.LabHost, 7000), "chained")
	l.asks(p.ns(), "tcp", at(harness.LabOutside, 70), "outside saw "+harness.LabHostOut)
	l.OK("net", "check")
	p.end()
	t.Cleanup(func() { // where tuning keeps what it has changed
		_, _ = os.Remove("/run/cni/tuning"), os.Remove("/run/cni")
	})
	if got, err := l.In(l.Name, "iptables-save"); err != nil || strings.Contains(got, "7000") || strings.Contains(got, "11.11.6.") {
		t.Errorf("rules of plugins left (%v):\n%s", err, got)
	}
	for _, dev := range l.Links() {
		if strings.HasPrefix(dev, "bwp") {
			t.Errorf("left behind by bandwidth: %s", dev)
		}
	}
}

// TestNetSelect: which networks a pod gets, by name.
func TestNetSelect(t *testing.T) {
	l := newNetLab(t)
	run := func(net string) harness.Result {
		return l.Run("run", l.stage1, "--net="+net, l.image, "--name=app", "--exec=/bin/netprobe", "--", "show")
	}
	subnet := func(s string) string {
		return `"type": "ptp", "ipam": {"type": "host-local", "subnet": "` + s + `"}`
	}
	user := l.conf("10-user.conf", "user", subnet("11.12.1.0/24"))
	l.file("50-broken.conf", "{")
	broken := "broken-" + l.id
	path := l.file("51-broken.conf", `{"name": "`+broken+`"}`)
	if err := os.MkdirAll("/etc/cni/net.d", 0o755); err != nil {
		t.Fatal(err)
	}
	shared := "shared-" + l.id
	sharedFile := "/etc/cni/net.d/99-" + shared + ".conf"
	writeFile(t, sharedFile, `{"cniVersion": "0.4.0", "name": "`+shared+`", `+subnet("11.12.2.0/24")+`}`)
	l.names = append(l.names, shared)
	t.Cleanup(func() {
		_ = os.Remove(sharedFile)
		_, _ = os.Remove("/etc/cni/net.d"), os.Remove("/etc/cni")
	})

	for _, tt := range []struct {
		net        string
		want, none []string
	}{
		{user, []string{"addr eth0 11.12.1."}, []string{"eth1"}},
		{"all", []string{"addr eth0 11.12.1.", "addr eth1 172.31.", "addr eth2 172.16.28."}, []string{"11.12.2", "eth3"}},
		{shared, []string{"addr eth0 11.12.2."}, []string{"eth1"}},
		{shared + "," + user, []string{"addr eth0 11.12.1.", "addr eth1 11.12.2."}, []string{"eth2"}},
	} {
		r := run(tt.net)
		for _, want := range tt.want {
			if r.Status != 0 || !strings.Contains(r.Stdout, want) {
				t.Errorf("--net=%s: no %q: %s", tt.net, want, r)
			}
		}
		for _, none := range tt.none {
			if strings.Contains(r.Stdout, none) {
				t.Errorf("--net=%s: has %q: %s", tt.net, none, r)
			}
		}
	}
	for net, wants := range map[string][]string{
		"zz-none,aa-none":  {"networks not found: aa-none, zz-none", "error loading network definitions", "failed to setup network"},
		broken:             {path, "no type", "failed to setup network"},
		user + "," + user:  {`found duplicate netname "` + user + `"`},
		"all:IP=10.1.1.1":  {`arguments are not supported by special netname "all"`},
		"host:IP=10.1.1.1": {`arguments are not supported by special netname "host"`},
		user + ",":         {"netname must not be empty"},
	} {
		r := run(net)
		for _, want := range wants {
			if r.Status != 254 || !strings.Contains(r.Stderr, want) || strings.Contains(r.Stdout, "link lo") {
				t.Errorf("--net=%s: want 254 and %q: %s", net, want, r)
			}
		}
	}
	l.file("05-mine.conf", `{"name": "default", `+subnet("11.12.3.0/24")+`}`)
	r := run("default")
	if want := `networking: overriding "default" network with one from ` + filepath.Join(l.LocalConfig(), "net.d"); r.Status != 0 || !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stdout, "addr eth0 11.12.3.") {
		t.Errorf("default overridden: want %q: %s", want, r)
	}
}

// TestNetPlugin: how a plugin of the user's own is called, and what becomes of
// its failure.
func TestNetPlugin(t *testing.T) {
	l := newNetLab(t)
	dir := filepath.Join(l.LocalConfig(), "net.d")
	for _, name := range []string{"working", "failing"} {
		writeFile(t, filepath.Join(dir, name), string(netProbe.body))
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := `{ "name":"own-` + l.id + "\",\n\t\"TYPE\" : \"working\", \"unknown\": [1, {\"x\": null}] }\n\n"
	l.file("20-own.conf", text)
	p := l.launch("pod", []string{"--net=own-" + l.id + ":A=1;B=x:y"})
	l.ready(p)
	if n := p.nets(); len(n) != 1 || n[0].IP != "11.22.33.44" || n[0].Mask != "255.255.240.0" || n[0].PluginPath != filepath.Join(dir, "working") || n[0].Args != "A=1;B=x:y" {
		t.Errorf("record: %+v", n)
	}
	l.OK("stop", "--force", p.UUID)
	p.Wait()
	l.OK("rm", p.UUID)
	for _, command := range []string{"ADD", "DEL"} {
		file := filepath.Join(dir, "working."+command)
		if got, err := os.ReadFile(file); string(got) != text {
			t.Errorf("%s: stdin %q, %v", command, got, err)
		}
		env, err := os.ReadFile(file + ".env")
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		for _, want := range []string{
			"CNI_VERSION=0.1.0", "CNI_COMMAND=" + command, "CNI_CONTAINERID=" + p.UUID, "CNI_NETNS=/var/run/netns/cni-" + p.UUID, "CNI_IFNAME=eth0", "CNI_ARGS=A=1;B=x:y",
			"CNI_PATH=" + dir + ":/usr/lib/rkt/plugins/net:stage1/rootfs/usr/lib/rkt/plugins/net",
		} {
			if !strings.Contains("\n"+string(env), "\n"+want+"\n") {
				t.Errorf("%s: no %q in\n%s", command, want, env)
			}
		}
	}

	first := l.conf("10-first.conf", "first", bridge("br-first", "11.13.1.0/24", "fd11:13::/64"))
	failing := l.conf("30-failing.conf", "failing", `"type": "failing"`)
	r, uuid := l.runUUID(append([]string{"run", l.stage1, "--net=" + failing + "," + first, "--port=web:7000"}, l.app("pod")...)...)
	for _, want := range []string{"no luck; today", `error adding network "` + failing + `"`, "failed to setup network", "this goes to the log"} {
		if r.Status != 254 || !strings.Contains(r.Stderr, want) || strings.Contains(r.Stdout, "ready") {
			t.Errorf("want 254 and %q: %s", want, r)
		}
	}
	for _, trace := range l.NetTraces(uuid) {
		t.Errorf("not rolled back: %s", trace)
	}
	for _, dev := range l.Links() {
		if strings.HasPrefix(dev, "veth") {
			t.Errorf("not rolled back: interface %s", dev)
		}
	}
	if rules := l.Rules(); strings.Contains(rules, uuid) || strings.Contains(rules, "11.13.1.") {
		t.Errorf("not rolled back: %s", rules)
	}
	missing := l.conf("40-missing.conf", "missing", `"type": "no-such-plugin"`)
	l.Fail(254, `Could not find plugin "no-such-plugin"`, append([]string{"run", l.stage1, "--net=" + missing}, l.app("pod")...)...)
	noMaster := l.conf("41-master.conf", "no-master", `"type": "macvlan", "ipam": {"type": "host-local", "subnet": "11.14.1.0/24"}`)
	l.Fail(254, `"master" field is required`, append([]string{"run", l.stage1, "--net=" + noMaster}, l.app("pod")...)...)
}
