// SPDX-License-Identifier: Apache-2.0

package front

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// The test program is the front as well: a shipped name that it is called by.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); IsPlugin(name) {
		e := Exec{Stderr: os.Stderr}
		os.Exit(e.main(context.Background(), own(os.Args[0], name), os.Args[1:], os.Stdin, os.Stdout, os.Environ()))
	}
	if report := os.Getenv("FRONT_TEST_REPORT"); report != "" {
		os.Exit(reportPlugin(report))
	}
	os.Exit(withPlugins(m.Run))
}

const pluginsVariable = "FRONT_TEST_PLUGINS"

// withPlugins runs the tests with a directory for the upstream plugins.
func withPlugins(run func() int) int {
	dir, err := os.MkdirTemp("", "rkt-front-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Setenv(pluginsVariable, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// reportPlugin is a foreign plugin: it notes what it was called with.
func reportPlugin(report string) int {
	stdin, err := readAll(os.Stdin)
	if err == nil {
		err = os.WriteFile(report, fmt.Appendf(nil, "%q %s %s|%s", os.Args, os.Getenv(envArgs), os.Getenv(envPath), stdin), 0o600)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Printf(`{"cniVersion":"0.1.0","ip4":{"ip":"10.9.9.9/24"},"dns":{}}`)
	return 0
}

// built are the upstream plugins, built once.
var built = sync.OnceValues(func() (string, error) {
	dir := os.Getenv(pluginsVariable)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "tool")
	cmd.Dir = "../plugins"
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

// host is a network namespace that has the host's part, another for the pod,
// and a place with the shipped plugins.
type host struct {
	t       *testing.T
	dir     string // of the shipped plugins
	leases  string
	ns, pod string
	user    string // directory of the user's plugins, first in CNI_PATH
	id      string // of the pod
	ifName  string
	rules   *fakeRules
	exec    Exec
}

func newHost(t *testing.T) *host {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "ip")
	plugins, err := built()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	h := &host{
		t: t, dir: filepath.Join(root, Dir), leases: filepath.Join(root, "leases"), user: filepath.Join(root, "net.d"),
		ns: fmt.Sprintf("front-%d-host", os.Getpid()), pod: fmt.Sprintf("front-%d-pod", os.Getpid()), rules: &fakeRules{},
		id: "pod-1", ifName: "eth0",
	}
	for _, dir := range []string{h.dir, h.user} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(plugins, filepath.Join(h.dir, Upstream)); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(UpstreamNames(), Flannel) {
		h.link(filepath.Join(h.dir, name))
	}
	for _, ns := range []string{h.ns, h.pod} {
		h.ip("netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	}
	h.ip("-n", h.ns, "link", "set", "lo", "up")
	h.exec = Exec{Masquerader: h.rules, FlannelDir: filepath.Join(root, "flannel")}
	return h
}

// link copies the test program: a temporary directory may be on another file
// system.
func (h *host) link(path string) {
	h.t.Helper()
	self, err := os.Executable()
	if err == nil {
		if err = os.Link(self, path); err != nil {
			body, read := os.ReadFile(self)
			err = errors.Join(read, os.WriteFile(path, body, 0o755))
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) ip(args ...string) string {
	h.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (h *host) environ(command, args string) []string {
	return append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+h.id, "CNI_NETNS=/var/run/netns/"+h.pod,
		"CNI_IFNAME="+h.ifName, "CNI_ARGS="+args, "CNI_PATH="+h.user+":"+h.dir)
}

// call executes a plugin in the host's namespace, through the code that runs
// in rkt's network program.
func (h *host) call(command, plugin, conf, args string) (string, error) {
	h.t.Helper()
	var out []byte
	err := inNamespace(h.ns, func() (err error) {
		path, err := h.exec.FindInPath(plugin, []string{h.user, h.dir})
		if err != nil {
			return err
		}
		out, err = h.exec.ExecPlugin(h.t.Context(), path, []byte(conf), h.environ(command, args))
		return err
	})
	return string(out), err
}

// program executes the front as a program, as a third-party plugin would.
func (h *host) program(command, plugin, conf, args string) (string, error) {
	h.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", h.ns, filepath.Join(h.dir, plugin))
	cmd.Env = h.environ(command, args)
	cmd.Stdin = strings.NewReader(conf)
	out, err := cmd.Output()
	return string(out), err
}

func (h *host) mustAdd(plugin, conf, args string) result {
	h.t.Helper()
	out, err := h.call("ADD", plugin, conf, args)
	if err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return r
}

func (h *host) mustDel(plugin, conf string) {
	h.t.Helper()
	if out, err := h.call("DEL", plugin, conf, ""); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
}

// result is one of all versions.
type result struct {
	CNIVersion string
	IP4        struct{ IP, Gateway string }
	IPs        []struct{ Address, Gateway string }
}

// fakeRules remembers what it is told.
type fakeRules struct {
	pods    []firewall.Pod
	removed []string
	missing []string
	err     error
}

func (f *fakeRules) Add(p firewall.Pod) error {
	f.pods = append(f.pods, p)
	return f.err
}

func (f *fakeRules) RemoveNetwork(id, network string) error {
	f.removed = append(f.removed, id+" "+network)
	return nil
}

func (f *fakeRules) Missing(firewall.Pod) ([]string, error) { return f.missing, nil }

func (h *host) conf(format string, args ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(format, args...), "LEASES", h.leases)
}

func TestPTP(t *testing.T) {
	h := newHost(t)
	conf := h.conf(`{"Name":"n","Type":"ptp","IpMasq":true,"args":["a=b"],"Ipam":{"Type":"host-local","Subnet":"11.11.3.1/24","Routes":[{"Dst":"0.0.0.0/0"}],"dataDir":"LEASES"}}`)
	r := h.mustAdd("ptp", conf, "IP=11.11.3.9")
	if r.CNIVersion != "0.1.0" || r.IP4.IP != "11.11.3.9/24" || r.IP4.Gateway != "11.11.3.1" {
		t.Errorf("%+v", r)
	}
	want := []firewall.Pod{{ID: "pod-1", Masquerades: []firewall.Masquerade{{Network: "n", Addr: netip.MustParsePrefix("11.11.3.9/24")}}}}
	if diff := cmp.Diff(want, h.rules.pods, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if routes := h.ip("-n", h.pod, "route"); !strings.Contains(routes, "default via 11.11.3.1") {
		t.Error(routes)
	}
	if addrs := h.ip("-n", h.ns, "addr"); !strings.Contains(addrs, "11.11.3.1/32") {
		t.Error(addrs)
	}
	h.id, h.ifName = "pod-2", "eth1"
	for args, want := range map[string]string{
		"IP=11.11.3.9":        `requested IP address "11.11.3.9" is not available in network: n`,
		"IP=11.11.3.1":        "requested IP must differ gateway IP",
		"IP=11.12.3.1":        "11.12.3.1 not in network: 11.11.3.0/24",
		"IP=x":                `ARGS: error parsing value of pair "IP=x": invalid IP address x`,
		"IP=11.11.3.8;FOO=b":  `ARGS: unknown args ["FOO=b"]`,
		"IP=11.11.3.8;FOO":    `ARGS: invalid pair "FOO"`,
		"IP=11.11.3.8;MAC=a=": `ARGS: invalid pair "MAC=a="`,
	} {
		for _, plugin := range []string{"ptp", "bridge", "host-local"} {
			if plugin == "host-local" && strings.Contains(args, "MAC") {
				continue
			}
			out, err := h.call("ADD", plugin, conf, args)
			if err == nil || err.Error() != want {
				t.Errorf("%s %s: %v %s", plugin, args, err, out)
			}
			if plugin == "bridge" { // upstream leaves the interface of a failed ADD to DEL
				_ = exec.Command("ip", "-n", h.pod, "link", "del", h.ifName).Run()
			}
		}
	}
	h.id, h.ifName = "pod-1", "eth0"
	h.mustDel("ptp", conf)
	if diff := cmp.Diff([]string{"pod-1 n"}, h.rules.removed); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(h.leases, "n", "11.11.3.9")); err == nil {
		t.Error("the lease is still there")
	}
	h.mustDel("ptp", conf)
}

// A failure to add rules takes the interface and the lease back.
func TestMasqueradeFails(t *testing.T) {
	h := newHost(t)
	h.rules.err = errors.New("no rules")
	conf := h.conf(`{"cniVersion":"1.0.0","name":"n","type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"11.11.3.0/24","dataDir":"LEASES"}}`)
	if out, err := h.call("ADD", "ptp", conf, ""); err == nil || err.Error() != "masquerade network n: no rules" {
		t.Errorf("%v %s", err, out)
	}
	if links := h.ip("-n", h.pod, "link"); strings.Contains(links, "eth0") {
		t.Error(links)
	}
	if _, err := os.Stat(filepath.Join(h.leases, "n", "11.11.3.2")); err == nil {
		t.Error("the lease is still there")
	}
	if len(h.rules.removed) != 1 {
		t.Errorf("%q", h.rules.removed)
	}
}

// CHECK says which rules are not there, and all is well with dual stack.
func TestCheckRules(t *testing.T) {
	h := newHost(t)
	conf := h.conf(`{"cniVersion":"1.1.0","name":"n","type":"ptp","ipMasq":true,"ipam":{"type":"host-local","dataDir":"LEASES","ranges":[[{"subnet":"11.11.3.0/24"}],[{"subnet":"fd00:9::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}`)
	out, err := h.call("ADD", "ptp", conf, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(h.rules.pods[0].Masquerades); n != 2 {
		t.Errorf("%d addresses", n)
	}
	check := strings.TrimSuffix(conf, "}") + `,"prevResult":` + out + "}"
	if _, err := h.call("CHECK", "ptp", check, ""); err != nil {
		t.Error(err)
	}
	h.rules.missing = []string{"all"}
	if _, err := h.call("CHECK", "ptp", check, ""); err == nil || err.Error() != "network n is not masqueraded, missing: all" {
		t.Error(err)
	}
	h.ip("-n", h.pod, "link", "del", "eth0")
	if _, err := h.call("CHECK", "ptp", check, ""); err == nil {
		t.Error("no interface, and CHECK is content")
	}
	h.mustDel("ptp", conf)
}

// The built-in network on a host without IPv6 has IPv4 only.
func TestAutoIPv6(t *testing.T) {
	h := newHost(t)
	conf, err := os.ReadFile("../../dist/stage1/rootfs/etc/rkt/net.d/99-default.conf")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(conf), `"type": "host-local",`, `"type": "host-local", "dataDir": "`+h.leases+`",`, 1)
	h.exec.Proc = t.TempDir()
	r := h.mustAdd("ptp", text, "IP=172.16.28.123")
	if len(r.IPs) != 1 || r.IPs[0].Address != "172.16.28.123/24" || r.CNIVersion != "1.1.0" {
		t.Errorf("%+v", r)
	}
	h.mustDel("ptp", text)

	h.exec.Proc = t.TempDir()
	write(t, h.exec.Proc, map[string]string{
		"sys/net/ipv6/conf/all/disable_ipv6": "0", "sys/net/ipv6/conf/default/disable_ipv6": "0",
		"sys/net/ipv6/conf/all/forwarding": "0", "sys/net/ipv6/conf/up/forwarding": "0", "sys/net/ipv6/conf/up/accept_ra": "1",
		"net/if_inet6": "20010db8000000000000000000000001 02 40 00 80     up\n",
	})
	if r = h.mustAdd("ptp", text, ""); len(r.IPs) != 2 || r.IPs[1].Address != "fd72:6b74:1c::2/64" {
		t.Errorf("%+v", r)
	}
	if accept, err := readSysctl(filepath.Join(h.exec.Proc, "sys/net/ipv6/conf/up/accept_ra")); accept != "2" {
		t.Error(accept, err)
	}
	if routes := h.ip("-n", h.pod, "-6", "route"); !strings.Contains(routes, "default via fd72:6b74:1c::1") {
		t.Error(routes)
	}
	h.mustDel("ptp", text)
}

func TestBridge(t *testing.T) {
	h := newHost(t)
	conf := h.conf(`{"cniVersion":"1.0.0","name":"n","type":"bridge","bridge":"rktfront0","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"11.11.3.0/24","routes":[{"dst":"0.0.0.0/0"}],"dataDir":"LEASES"}}`)
	r := h.mustAdd("bridge", conf, "IP=11.11.3.7")
	if len(r.IPs) != 1 || r.IPs[0].Address != "11.11.3.7/24" {
		t.Errorf("%+v", r)
	}
	if routes := h.ip("-n", h.pod, "route"); strings.Count(routes, "default via 11.11.3.1") != 1 {
		t.Error(routes)
	}
	if len(h.rules.pods) != 1 {
		t.Errorf("%+v", h.rules.pods)
	}
	h.mustDel("bridge", conf)
}

func TestMacvlan(t *testing.T) {
	h := newHost(t)
	h.ip("-n", h.ns, "link", "add", "m0", "type", "veth", "peer", "name", "m1")
	h.ip("-n", h.ns, "link", "set", "m0", "up")
	for _, plugin := range []string{"macvlan", "ipvlan"} {
		t.Run(plugin, func(t *testing.T) {
			conf := h.conf(`{"name":"n","type":%q,"master":"m0","ipam":{"type":"host-local","subnet":"11.11.3.0/24","dataDir":"LEASES"}}`, plugin)
			_, err := h.call("ADD", plugin, strings.Replace(conf, `"master":"m0",`, "", 1), "")
			if err == nil || !strings.HasPrefix(err.Error(), `"master" field is required.`) {
				t.Error(err)
			}
			out, err := h.call("ADD", plugin, conf, "IP=11.11.3.5")
			if plugin == "ipvlan" && err != nil && strings.Contains(err.Error(), "operation not supported") {
				return // few kernels for virtual machines have it; tests/vm boots one that has
			}
			if err != nil || !strings.Contains(out, `"ip": "11.11.3.5/24"`) {
				t.Errorf("%v %s", err, out)
			}
			h.mustDel(plugin, conf)
		})
	}
}

func TestTuning(t *testing.T) {
	h := newHost(t)
	for _, version := range []string{"", `"cniVersion":"0.2.0",`, `"cniVersion":"1.1.0",`} {
		conf := `{` + version + `"name":"n","type":"tuning","sysctl":{"net.ipv4.ip_default_ttl":"77"}}`
		if r := h.mustAdd("tuning", conf, "IP=1.2.3.4"); r.IP4.IP != "" || len(r.IPs) != 0 {
			t.Errorf("%+v", r)
		}
		if ttl := h.ip("netns", "exec", h.pod, "cat", "/proc/sys/net/ipv4/ip_default_ttl"); strings.TrimSpace(ttl) != "77" {
			t.Error(ttl)
		}
		h.mustDel("tuning", conf)
	}
	_, err := h.call("ADD", "tuning", `{"name":"n","type":"tuning","sysctl":{"kernel.domainname":"x"}}`, "")
	if err == nil || !strings.Contains(err.Error(), "invalid net sysctl key") {
		t.Error(err)
	}
}

func TestExhausted(t *testing.T) {
	h := newHost(t)
	conf := h.conf(`{"name":"n","type":"ptp","ipam":{"type":"host-local","subnet":"11.11.3.0/24","rangeStart":"11.11.3.2","rangeEnd":"11.11.3.2","dataDir":"LEASES"}}`)
	h.mustAdd("ptp", conf, "")
	h.id = "pod-2"
	_, err := h.call("ADD", "host-local", conf, "")
	if err == nil || err.Error() != "no IP addresses available in network: n" {
		t.Error(err)
	}
	h.id = "pod-1"
	h.mustDel("ptp", conf)
}

// As programs, the fronts speak CNI.
func TestPrograms(t *testing.T) {
	h := newHost(t)
	conf := h.conf(`{"Name":"n","type":"ptp","ipam":{"type":"host-local","subnet":"11.11.3.1/24","dataDir":"LEASES"}}`)
	out, err := h.program("ADD", "ptp", conf, "IP=11.11.3.4")
	if err != nil || !strings.Contains(out, `"ip": "11.11.3.4/24"`) {
		t.Fatalf("%v %s", err, out)
	}
	h.id, h.ifName = "pod-2", "eth1"
	for _, plugin := range []string{"ptp", "host-local"} {
		out, err = h.program("ADD", plugin, conf, "IP=11.11.3.4")
		var failed struct {
			CNIVersion, Msg string
			Code            int
		}
		if json.Unmarshal([]byte(out), &failed) != nil || err == nil ||
			failed.Msg != `requested IP address "11.11.3.4" is not available in network: n` || failed.CNIVersion != "0.1.0" || failed.Code == 0 {
			t.Errorf("%s: %v %s", plugin, err, out)
		}
	}
	h.id, h.ifName = "pod-1", "eth0"
	if out, err = h.program("DEL", "ptp", conf, ""); err != nil {
		t.Errorf("%v %s", err, out)
	}
	for _, plugin := range []string{"ptp", Flannel} {
		if out, err = h.program("VERSION", plugin, "", ""); err != nil || !strings.Contains(out, "supportedVersions") {
			t.Errorf("%v %s", err, out)
		}
	}
	help, err := exec.Command(filepath.Join(h.dir, "dhcp"), "daemon", "-h").CombinedOutput()
	if !bytes.Contains(help, []byte("-socketpath")) {
		t.Errorf("%v %s", err, help)
	}
}

func TestFlannel(t *testing.T) {
	h := newHost(t)
	file := filepath.Join(t.TempDir(), "subnet.env")
	conf := h.conf(`{"name":"f","type":"flannel","subnetFile":%q,"ipam":{"dataDir":"LEASES"},"delegate":{"bridge":"rktfront0","isDefaultGateway":true}}`, file)
	if _, err := h.call("ADD", Flannel, conf, ""); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("FLANNEL_NETWORK=11.11.0.0/16\nFLANNEL_SUBNET=11.11.3.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := h.mustAdd(Flannel, conf, ""); r.IP4.IP != "11.11.3.2/24" {
		t.Errorf("%+v", r)
	}
	if routes := h.ip("-n", h.pod, "route"); !strings.Contains(routes, "default via 11.11.3.1") || !strings.Contains(routes, "11.11.0.0/16 via 11.11.3.1") {
		t.Error(routes)
	}
	if len(h.rules.pods) != 1 {
		t.Errorf("%+v", h.rules.pods)
	}
	if err := os.Remove(file); err != nil { // a reboot
		t.Fatal(err)
	}
	record := filepath.Join(h.exec.FlannelDir, "pod-1")
	if _, err := os.Stat(record); err != nil {
		t.Error(err)
	}
	h.mustDel(Flannel, conf)
	if _, err := os.Stat(record); err == nil {
		t.Error("the record is still there")
	}
	if links := h.ip("-n", h.pod, "link"); strings.Contains(links, "eth0") {
		t.Error(links)
	}
	h.mustDel(Flannel, conf)
	h.id = "../x"
	if _, err := h.call("DEL", Flannel, conf, ""); err == nil {
		t.Error("a container ID that leads elsewhere")
	}
}

// A user's plugin of a shipped name goes first, also as the IPAM of a shipped
// one; and a foreign plugin gets what there is, to the byte.
func TestForeign(t *testing.T) {
	h := newHost(t)
	report := filepath.Join(t.TempDir(), "report")
	h.link(filepath.Join(h.user, "mine"))
	t.Setenv("FRONT_TEST_REPORT", report)
	const odd = `{ "Name":"n",  "type":"mine","args":["a=b"]}` + "\n"
	if _, err := h.call("ADD", "mine", odd, "FOO=b"); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%q FOO=b %s|%s", []string{filepath.Join(h.user, "mine")}, h.user+":"+h.dir, odd)
	got, err := os.ReadFile(report)
	if err != nil || string(got) != want {
		t.Errorf("%v %s", err, cmp.Diff(want, string(got)))
	}
	// A script would do; the test program cannot, it is the front by this name.
	script := "#!/bin/sh\ncat >" + report + "\necho '{\"cniVersion\":\"0.1.0\",\"ip4\":{\"ip\":\"11.11.3.77/24\",\"gateway\":\"11.11.3.1\"},\"dns\":{}}'\n"
	if err := os.WriteFile(filepath.Join(h.user, "host-local"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := h.conf(`{"name":"n","type":"ptp","ipam":{"type":"host-local","subnet":"11.11.3.0/24","dataDir":"LEASES"}}`)
	if r := h.mustAdd("ptp", conf, ""); r.IP4.IP != "11.11.3.77/24" {
		t.Errorf("%+v", r)
	}
	h.mustDel("ptp", conf)
}
