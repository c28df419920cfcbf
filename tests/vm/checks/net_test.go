// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/tests/harness"
)

// lab is a host in the middle of others: the kernel is the guest's, and has
// what that of the machine that runs the tests may lack.
type lab struct {
	*harness.Lab
	*host
	probe string // netprobe
}

// protos are both kinds of traffic.
var protos = []string{"tcp", "udp"}

// network: pods and everybody around them talk to each other.
func (h *host) network() {
	inner := *h.Host
	l := &lab{Lab: harness.NewLab(h.t), host: &host{Host: &inner, t: h.t, dir: h.dir}, probe: os.Getenv("RKT_NETPROBE")}
	inner.NetNS = l.Name
	l.image = l.netImage()
	l.check("default", (*lab).byDefault)
	l.check("bridge", (*lab).bridge)
	l.check("forward", (*lab).forward)
	l.check("again", (*lab).again)
	l.check("released", (*lab).released)
	if kind != "legacy" { // the rest has little to do with how rules are made
		l.check("restricted", (*lab).restricted)
		l.check("ipvlan", (*lab).ipvlan)
		l.check("macvlan", (*lab).macvlan)
		l.check("killed", (*lab).killedInSetup)
	}
}

// netImage is an image with netprobe.
func (h *host) netImage() string {
	h.t.Helper()
	probe, err := os.ReadFile(os.Getenv("RKT_NETPROBE"))
	if err != nil {
		h.t.Fatal(err)
	}
	port := func(name, proto string) map[string]any {
		return map[string]any{"name": name, "protocol": proto, "port": 80}
	}
	return h.Fetch(harness.ACI(h.t, harness.Manifest("example.com/netprobe", "1", map[string]any{
		"ports": []map[string]any{port("web", "tcp"), port("web-udp", "udp")},
	}), append(harness.BusyboxEntries(h.t), harness.File("bin/netprobe", 0o755, string(probe)))))
}

// check runs a check, which has to leave nothing.
func (l *lab) check(name string, fn func(*lab)) {
	l.t.Run(name, func(t *testing.T) {
		inner := *l.host.Host
		inner.T = t
		in := &lab{Lab: l.Lab, host: &host{Host: &inner, t: t, image: l.image, dir: t.TempDir()}, probe: l.probe}
		defer in.end()
		fn(in)
	})
}

// end stops the pods, collects them and looks for what they have left.
func (l *lab) end() {
	l.t.Helper()
	for _, uuid := range l.Pods() {
		l.Run("stop", "--force", uuid)
	}
	eventually(l.t, "all pods have ended", func() bool {
		return !strings.Contains(l.OK("list", "--no-legend"), "running")
	})
	l.collect()
	if rules := l.Rules(); strings.Contains(rules, "id: ") || strings.Contains(rules, "table inet rkt") {
		l.t.Errorf("left behind: rules %s", rules)
	}
	var links []string
	gone := func() bool {
		links = l.Links()
		return !strings.Contains(strings.Join(links, " "), "veth")
	}
	if !harness.WaitFor(harness.Timeout/60, gone) {
		l.t.Errorf("left behind: interfaces %v", links)
	}
	if left, _ := filepath.Glob("/run/netns/cni-*"); len(left) > 0 {
		l.t.Errorf("left behind: %v", left)
	}
}

// netPod is a pod that answers with its name at port 80.
type netPod struct {
	l    *lab
	uuid string
	ns   string // its network namespace
	ip   string
	ip6  string
}

// launch starts a pod and waits until it serves.
func (l *lab) launch(name string, flags ...string) *netPod {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "uuid")
	args := append([]string{"run", "--uuid-file-save=" + file}, flags...)
	p := l.Start(append(args, l.image, "--name=app", "--exec=/bin/netprobe", "--", "serve", name, "tcp::80", "udp::80")...)
	p.WaitContains("ready")
	pod := &netPod{l: l, uuid: read(l.t, file)}
	pod.ns = "cni-" + pod.uuid
	nets, err := netinfo.Read(filepath.Join(l.PodDir(pod.uuid), poddir.NetInfo))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, n := range nets {
		for _, cidr := range n.IPs {
			a, _, _ := strings.Cut(cidr, "/")
			if strings.Contains(a, ":") {
				pod.ip6 = a
			} else {
				pod.ip = a
			}
		}
	}
	return pod
}

// serve has a host of the lab answer.
func (l *lab) serve(ns, name string, where ...string) {
	l.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + ns, l.probe, "serve", name}, where...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}))
	ready := make([]byte, len("ready\n"))
	if n, err := out.Read(ready); err != nil || string(ready[:n]) != "ready\n" {
		l.t.Fatalf("%s serves %v: %q, %v", name, where, ready[:n], err)
	}
}

// at is ADDRESS:PORT.
func at(addr, port string) string {
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return addr + ":" + port
}

// asks asks from a namespace and wants an answer that begins so.
func (l *lab) asks(ns, proto, addr, want string) {
	l.t.Helper()
	if got, err := l.In(ns, l.probe, "ask", "-t", "8s", proto, addr); err != nil || !strings.HasPrefix(got, want) {
		l.t.Errorf("%s asks %s %s: %q, %v; want %q", ns, proto, addr, got, err, want)
	}
}

// cannot asks and wants no answer.
func (l *lab) cannot(ns, proto, addr string) {
	l.t.Helper()
	if got, err := l.In(ns, l.probe, "ask", "-t", "2s", proto, addr); err == nil {
		l.t.Errorf("%s asks %s %s and gets %q; want none", ns, proto, addr, got)
	}
}

// in runs a shell script on the lab's host.
func (l *lab) in(script string) {
	l.t.Helper()
	if out, err := l.In(l.Name, "sh", "-ec", script); err != nil {
		l.t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// conf configures a network for this check.
func (l *lab) conf(name, rest string) {
	l.t.Helper()
	dir := filepath.Join(l.LocalConfig(), "net.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	file := filepath.Join(dir, name+".conf")
	write(l.t, file, `{"cniVersion": "1.0.0", "name": "`+name+`", `+rest+`}`)
	l.t.Cleanup(func() { _ = os.Remove(file) })
}

// outsides has the hosts around answer at port 70.
func (l *lab) outsides() {
	l.t.Helper()
	l.serve(l.Outside, "outside", "tcp::70", "udp:"+at(harness.LabOutside, "70"), "udp:"+at(harness.LabOutside6, "70"))
	l.serve(l.Client, "client", "tcp::70", "udp:"+at(harness.LabClient, "70"))
}

// reached: the port 7000 of the host leads to the pod called name, from
// everywhere: from around, from the host itself, from the pods.
func (l *lab) reached(name string, pods ...*netPod) {
	l.t.Helper()
	for _, proto := range protos {
		l.asks(l.Client, proto, at(harness.LabHost, "7000"), name+" saw "+harness.LabClient+"\n")
		l.asks(l.Client, proto, at(harness.LabHost6, "7000"), name+" saw "+harness.LabClient6+"\n")
		l.asks(l.Name, proto, "127.0.0.1:7000", name+" saw ")
		l.asks(l.Name, proto, at(harness.LabHostOut6, "7000"), name+" saw ")
		for _, p := range pods {
			l.asks(p.ns, proto, at(harness.LabHost, "7000"), name+" saw ")
			l.asks(p.ns, proto, at(harness.LabHost6, "7000"), name+" saw ")
		}
	}
	l.asks(l.Name, "tcp", "[::1]:7000", name+" saw ")
}

// out: pods reach the outside, which sees the host.
func (l *lab) out(pods ...*netPod) {
	l.t.Helper()
	for _, p := range pods {
		for _, proto := range protos {
			l.asks(p.ns, proto, at(harness.LabOutside, "70"), "outside saw "+harness.LabHostOut+"\n")
			l.asks(p.ns, proto, at(harness.LabOutside6, "70"), "outside saw "+harness.LabHostOut6+"\n")
		}
	}
}

// each: pods reach each other; exact tells that they see who asks.
func (l *lab) each(exact bool, one, two *netPod) {
	l.t.Helper()
	for _, proto := range protos {
		for _, pair := range [][2]*netPod{{one, two}, {two, one}} {
			want := ""
			if exact {
				want = " saw " + pair[0].ip + "\n"
			}
			if got, err := l.In(pair[0].ns, l.probe, "ask", "-t", "8s", proto, at(pair[1].ip, "80")); err != nil || !strings.Contains(got, want) {
				l.t.Errorf("pod %s asks %s %s: %q, %v; want %q", pair[0].ip, proto, pair[1].ip, got, err, want)
			}
			if pair[1].ip6 != "" {
				l.asks(pair[0].ns, proto, at(pair[1].ip6, "80"), "")
			}
		}
	}
}

var forwarded = []string{"--port=web:7000", "--port=web-udp:7000"}

// byDefault: the network a pod gets when nobody says which, its rules, and what
// becomes of them when the firewall is reloaded.
func (l *lab) byDefault() {
	l.outsides()
	one, two := l.launch("one", forwarded...), l.launch("two", "--net=default:IP=172.16.28.123")
	if two.ip != "172.16.28.123" {
		l.t.Errorf("address %s", two.ip)
	}
	l.out(one, two)
	l.each(false, one, two)
	l.reached("one", one, two)
	l.OK("net", "check")
	rules, flush := l.Rules(), "nft flush ruleset"
	want := "table inet rkt"
	if kind == "legacy" {
		want, flush = "RKT-PFWD-DNAT-"+one.uuid[:8], "for i in iptables ip6tables; do $i -t nat -F; $i -t nat -X; $i -t raw -F; done"
		if got := read(l.t, "/proc/modules"); strings.Contains(got, "nf_tables") {
			l.t.Errorf("the kernel has nf_tables: the check shows nothing")
		}
	}
	if !strings.Contains(rules, want) || !strings.Contains(rules, one.uuid) || !strings.Contains(rules, two.uuid) {
		l.t.Errorf("no %q, or not both pods, in %s", want, rules)
	}
	l.in(flush)
	l.cannot(two.ns, "tcp", at(harness.LabOutside, "70"))
	if r := l.Run("net", "check"); r.Status != 1 || !strings.Contains(r.Stdout, "missing: masquerade of ") {
		l.t.Errorf("net check without rules: %s", r)
	}
	if r := l.Run("net", "repair"); r.Status != 0 || !strings.Contains(r.Stdout, "put back: ") {
		l.t.Errorf("net repair: %s", r)
	}
	l.OK("net", "check")
	l.out(two)
	l.reached("one", one)
}

// again: a port is the next pod's as soon as a pod has ended, collected or not.
func (l *lab) again() {
	for _, name := range []string{"first", "second", "third"} {
		p := l.launch(name, forwarded...)
		l.reached(name, p)
		l.OK("stop", p.uuid)
		eventually(l.t, "the pod has exited", func() bool { return l.Status(p.uuid)["state"] == "exited" })
	}
}

// released: a port is the host's again when a pod has ended.
func (l *lab) released() {
	p := l.launch("pod", forwarded...)
	l.OK("stop", p.uuid)
	eventually(l.t, "the pod has exited", func() bool { return l.Status(p.uuid)["state"] == "exited" })
	l.serve(l.Name, "host", "tcp::7000", "udp:"+at(harness.LabHost, "7000"))
	for _, proto := range protos {
		l.asks(l.Client, proto, at(harness.LabHost, "7000"), "host saw "+harness.LabClient+"\n")
	}
}

// restricted: the host and nobody else.
func (l *lab) restricted() {
	l.outsides()
	p := l.launch("pod", "--net=default-restricted:IP=172.31.7.8")
	l.serve(l.Name, "host", "tcp::70")
	l.asks(p.ns, "tcp", "172.31.0.1:70", "host saw 172.31.7.8\n")
	for _, proto := range protos {
		l.asks(l.Name, proto, "172.31.7.8:80", "pod saw 172.31.0.1\n")
		l.cannot(p.ns, proto, at(harness.LabOutside, "70"))
	}
	l.cannot(p.ns, "tcp", at(harness.LabOutside6, "70"))
}

// ipvlan: two pods on one interface of the host, in both modes.
func (l *lab) ipvlan() {
	l.outsides()
	l.conf("l2", `"type": "ipvlan", "master": "lab1", "ipam": {"type": "host-local", "subnet": "10.92.0.0/24", "rangeStart": "10.92.0.100"}`)
	l.conf("l3", `"type": "ipvlan", "mode": "l3", "master": "lab0", "ipam": {"type": "host-local", "subnet": "10.94.0.0/24"}`)
	one, two := l.launch("one", "--net=l2"), l.launch("two", "--net=l2:IP=10.92.0.177")
	if two.ip != "10.92.0.177" {
		l.t.Errorf("address %s", two.ip)
	}
	l.each(true, one, two)
	for _, proto := range protos { // without the host between them
		l.asks(two.ns, proto, at(harness.LabOutside, "70"), "outside saw 10.92.0.177\n")
		l.asks(l.Outside, proto, "10.92.0.177:80", "two saw "+harness.LabOutside+"\n")
	}
	three, four := l.launch("three", "--net=l3"), l.launch("four", "--net=l3:IP=10.94.0.77")
	if four.ip != "10.94.0.77" {
		l.t.Errorf("address %s", four.ip)
	}
	l.each(true, three, four)
	l.OK("net", "check")
	r := l.Run("run", "--net=l3", "--port=web:7000", l.image, "--name=app", "--exec=/bin/true")
	if r.Status != 254 || !strings.Contains(r.Stderr, "no interface found with IP") {
		l.t.Errorf("a port with ipvlan alone: %s", r)
	}
}

// macvlan: two pods on one interface of the host.
func (l *lab) macvlan() {
	l.outsides()
	l.conf("mac", `"type": "macvlan", "master": "lab0", "ipam": {"type": "host-local", "subnet": "10.91.0.0/24", "rangeStart": "10.91.0.100"}`)
	one, two := l.launch("one", "--net=mac"), l.launch("two", "--net=mac:IP=10.91.0.177")
	l.each(true, one, two)
	for _, proto := range protos {
		l.asks(two.ns, proto, at(harness.LabClient, "70"), "client saw 10.91.0.177\n")
		l.asks(l.Client, proto, "10.91.0.177:80", "two saw "+harness.LabClient+"\n")
	}
	l.OK("net", "check")
}

// bridge: packets between pods on a bridge go through the host's firewall, as
// where docker or Kubernetes have loaded br_netfilter.
func (l *lab) bridge() {
	l.outsides()
	l.conf("br", `"type": "bridge", "bridge": "br-check", "isGateway": true, "ipMasq": true, "ipam": {"type": "host-local",
		"ranges": [[{"subnet": "11.11.3.0/24"}], [{"subnet": "fd11:3::/64"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}`)
	defer l.in("ip link del br-check")
	one, two := l.launch("one", append(forwarded, "--net=br")...), l.launch("two", "--net=br:IP=11.11.3.77")
	for _, v := range []string{"0", "1"} {
		l.in("cd /proc/sys/net/bridge; echo " + v + " >bridge-nf-call-iptables; echo " + v + " >bridge-nf-call-ip6tables")
		l.out(one, two)
		l.each(true, one, two)
		l.reached("one", one, two)
		for _, p := range []*netPod{one, two} {
			for _, proto := range protos {
				l.asks(p.ns, proto, "11.11.3.1:7000", "one saw ")
				l.asks(p.ns, proto, "[fd11:3::1]:7000", "one saw ")
			}
		}
	}
	l.OK("net", "check")
}

// forward: iptables drops what no rule accepts, between pods of a bridge, too.
func (l *lab) forward() {
	l.outsides()
	l.conf("br", `"type": "bridge", "bridge": "br-check", "isGateway": true, "ipMasq": true, "ipam": {"type": "host-local",
		"ranges": [[{"subnet": "11.11.3.0/24"}], [{"subnet": "fd11:3::/64"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}`)
	l.in("cd /proc/sys/net/bridge; echo 1 >bridge-nf-call-iptables; echo 1 >bridge-nf-call-ip6tables")
	variants := []string{"legacy", "nft"}
	if kind == "legacy" {
		variants = variants[:1]
	}
	for _, variant := range variants {
		policy := func(word string) {
			l.in("iptables-" + variant + " -P FORWARD " + word + "; ip6tables-" + variant + " -P FORWARD " + word)
		}
		policy("DROP")
		one, two, three := l.launch("one", forwarded...), l.launch("two", "--net=br"), l.launch("three", "--net=br")
		l.out(one, two)
		l.each(true, two, three)
		l.reached("one", one, two)
		l.OK("net", "check")
		l.end()
		out, err := l.In(l.Name, "iptables-"+variant+"-save")
		if err != nil || strings.Contains(out, "-A FORWARD") || !strings.Contains(out, ":FORWARD DROP") {
			l.t.Errorf("iptables-%s after the pods: %v: %s", variant, err, out)
		}
		policy("ACCEPT")
	}
	l.in("ip link del br-check")
}

// killedInSetup: rkt is killed while the second network is made.
func (l *lab) killedInSetup() {
	dir := filepath.Join(l.LocalConfig(), "net.d")
	l.conf("slow", `"type": "slow"`)
	plugin, called := filepath.Join(dir, "slow"), l.dir+"/called"
	write(l.t, plugin, "#!/bin/sh\n[ \"$CNI_COMMAND\" = ADD ] || exit 0\necho >"+called+"\nexec sleep 1007\n")
	if err := os.Chmod(plugin, 0o755); err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = os.Remove(plugin) }()
	file := l.dir + "/uuid"
	p := l.Start("run", "--net=default,slow", "--port=web:7000", "--uuid-file-save="+file, l.image, "--name=app", "--exec=/bin/true")
	eventually(l.t, "the plugin is called", func() bool { _, err := os.Stat(called); return err == nil })
	if len(l.NetTraces(read(l.t, file))) == 0 {
		l.t.Errorf("there is no network yet: the check shows nothing")
	}
	if err := p.Cmd.Process.Kill(); err != nil {
		l.t.Fatal(err)
	}
	p.Wait()
	eventually(l.t, "the plugin is gone", func() bool { return programs("sleep", "1007") == 0 })
}

// netService: a pod with a network is a service on the machine itself.
func (h *host) netService() {
	l := &lab{host: h, probe: os.Getenv("RKT_NETPROBE")}
	image := h.netImage()
	h.unitFile("networked", "Type=notify\n", "run", "--port=web:7000", "--port=web-udp:7000", "--uuid-file-save="+h.dir+"/uuid",
		image, "--name=app", "--exec=/bin/netprobe", "--", "serve", "service", "tcp::80", "udp::80")
	ask := func(when string) {
		h.t.Helper()
		for _, addr := range []string{"127.0.0.1:7000", "172.16.28.1:7000"} {
			for _, proto := range protos {
				out, err := exec.Command(l.probe, "ask", "-t", "8s", proto, addr).CombinedOutput()
				if err != nil || !strings.HasPrefix(string(out), "service saw ") {
					h.t.Errorf("%s: %s %s: %q, %v: %s", when, proto, addr, out, err, h.tool("journalctl", "-n30", "-o", "cat", "-u", "networked"))
				}
			}
		}
	}
	h.tool("systemctl", "start", "networked")
	first := h.uuid()
	ask("started")
	for range 2 {
		before := h.uuid()
		h.tool("systemctl", "restart", "networked")
		if h.uuid() == before || h.property("networked", "ActiveState") != "active" {
			h.t.Errorf("not restarted: %s", h.tool("systemctl", "status", "-n50", "networked"))
		}
		ask("restarted")
	}
	h.OK("gc", "--grace-period=0s")
	if left := h.NetTraces(first); len(left) > 0 {
		h.t.Errorf("of the first start there is %v", left)
	}
	h.OK("net", "check")
	ask("others were collected")
	h.tool("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "networked")
	eventually(h.t, "the pod has exited", func() bool { return h.Status(h.uuid())["state"] == "exited" })
	h.collect()
	h.tool("systemctl", "restart", "networked")
	ask("killed and restarted")
	h.tool("systemctl", "stop", "networked")
	h.collect()
	if rules := h.tool("nft", "list", "ruleset"); strings.Contains(rules, "inet rkt") {
		h.t.Errorf("left behind: rules %s", rules)
	}
}
