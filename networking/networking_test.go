// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/netinfo"
)

func TestCNIArgs(t *testing.T) {
	for _, c := range []struct {
		args string
		want [][2]string
		bad  bool
	}{
		{args: ""},
		{args: "IP=1.2.3.4", want: [][2]string{{"IP", "1.2.3.4"}}},
		{args: "A=b;C=d=e", want: [][2]string{{"A", "b"}, {"C", "d=e"}}},
		{args: "IP=fd00::1;MAC=02:00:00:00:00:01", want: [][2]string{{"IP", "fd00::1"}, {"MAC", "02:00:00:00:00:01"}}},
		{args: "A", bad: true},
		{args: "A=", bad: true},
		{args: "=b", bad: true},
		{args: "A=b;", bad: true},
		{args: ";A=b", bad: true},
	} {
		got, err := cniArgs(c.args)
		if (err != nil) != c.bad || !reflect.DeepEqual(got, c.want) {
			t.Errorf("cniArgs(%q) = %v, %v", c.args, got, err)
		}
	}
}

func TestCapabilityArgs(t *testing.T) {
	for _, c := range []struct {
		args string
		want map[string]any
		bad  bool
	}{
		{args: "", want: map[string]any{}},
		{args: "IP=1.2.3.4", want: map[string]any{"ips": []string{"1.2.3.4"}}},
		{args: "MAC=02:00:00:00:00:01;K=v", want: map[string]any{"mac": "02:00:00:00:00:01"}},
		{args: "ip=1.2.3.4", want: map[string]any{}},
		{args: "nonsense", bad: true},
	} {
		got, err := capabilityArgs(c.args)
		if (err != nil) != c.bad || !reflect.DeepEqual(got, c.want) {
			t.Errorf("capabilityArgs(%q) = %v, %v", c.args, got, err)
		}
	}
}

func TestForwards(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fd01::3/64")
	both := []netip.Prefix{v4, v6}
	for _, c := range []struct {
		host    string
		subnets []netip.Prefix
		to      []string
	}{
		{"", both, []string{"10.1.2.3 of 10.1.2.0/24", "fd01::3 of fd01::/64"}},
		{"0.0.0.0", both, []string{"10.1.2.3 of 10.1.2.0/24"}},
		{"192.0.2.1", both, []string{"10.1.2.3 of 10.1.2.0/24"}},
		{"::", both, []string{"fd01::3 of fd01::/64"}},
		{"::1", []netip.Prefix{v4}, nil},
		{"127.0.0.1", []netip.Prefix{v6}, nil},
		{"", nil, nil},
	} {
		p := call.Port{Name: "web", Proto: "tcp", HostPort: 8080, PodPort: 80}
		if c.host != "" {
			p.HostIP = netip.MustParseAddr(c.host)
		}
		var to []string
		for _, f := range forwards(p, c.subnets) {
			to = append(to, f.To.String()+" of "+f.Subnet.String())
			if f.Name != p.Name || f.Proto != p.Proto || f.HostPort != p.HostPort || f.PodPort != p.PodPort || f.HostIP != p.HostIP {
				t.Errorf("host address %q: %+v", c.host, f)
			}
		}
		if !slices.Equal(to, c.to) {
			t.Errorf("host address %q leads to %q, want %q", c.host, to, c.to)
		}
	}
}

func ipNet(t *testing.T, s string) net.IPNet {
	t.Helper()
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		t.Fatal(err)
	}
	n.IP = ip
	return *n
}

func TestFill(t *testing.T) {
	v4 := &types100.IPConfig{Address: ipNet(t, "10.1.2.3/24"), Gateway: net.ParseIP("10.1.2.1")}
	other := &types100.IPConfig{Address: ipNet(t, "10.9.9.9/8")}
	v6 := &types100.IPConfig{Address: ipNet(t, "fd01::3/64"), Gateway: net.ParseIP("fd01::1")}
	for _, c := range []struct {
		name   string
		result types100.Result
		want   netinfo.Network
	}{
		{"nothing", types100.Result{}, netinfo.Network{}},
		{"IPv4", types100.Result{IPs: []*types100.IPConfig{v4}}, netinfo.Network{IP: "10.1.2.3", Mask: "255.255.255.0", Gateway: "10.1.2.1", IPs: []string{"10.1.2.3/24"}}},
		{"IPv6 only", types100.Result{IPs: []*types100.IPConfig{v6}}, netinfo.Network{IPs: []string{"fd01::3/64"}}},
		{
			"the first IPv4 counts",
			types100.Result{IPs: []*types100.IPConfig{v6, other, v4}},
			netinfo.Network{IP: "10.9.9.9", Mask: "255.0.0.0", IPs: []string{"fd01::3/64", "10.9.9.9/8", "10.1.2.3/24"}},
		},
		{
			"interfaces",
			types100.Result{Interfaces: []*types100.Interface{
				{Name: "eth0", Mac: "host"}, {Name: "eth1", Mac: "other", Sandbox: "/ns"}, {Name: "eth0", Mac: "pod", Mtu: 1400, Sandbox: "/ns"},
			}},
			netinfo.Network{MAC: "pod", MTU: 1400},
		},
	} {
		info := netinfo.Network{IfName: "eth0"}
		if err := fill(&info, &c.result); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var r types100.Result
		if err := json.Unmarshal(info.Result, &r); err != nil || r.CNIVersion != "1.0.0" {
			t.Errorf("%s: result %s: %v", c.name, info.Result, err)
		}
		info.Result, c.want.IfName = nil, "eth0"
		if !reflect.DeepEqual(info, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.name, info, c.want)
		}
	}
}

func TestIsPlain(t *testing.T) {
	for _, c := range []struct {
		n    netconf.Network
		want bool
	}{
		{netconf.Network{CNIVersion: "0.1.0"}, true},
		{netconf.Network{CNIVersion: "0.3.1"}, true},
		{netconf.Network{CNIVersion: "0.4.0"}, false},
		{netconf.Network{CNIVersion: "1.1.0"}, false},
		{netconf.Network{CNIVersion: "0.3.1", Chain: true}, false},
		{netconf.Network{CNIVersion: "0.3.1", Capabilities: map[string]bool{"ips": true}}, false},
		{netconf.Network{CNIVersion: "nonsense"}, false},
	} {
		if got := isPlain(&c.n); got != c.want {
			t.Errorf("isPlain(%+v) = %v", c.n, got)
		}
	}
}

func TestFind(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for _, file := range []string{filepath.Join(first, "both"), filepath.Join(second, "both"), filepath.Join(second, "one"), filepath.Join(filepath.Dir(first), "outside")} {
		writeTo(t, file, "")
	}
	if err := os.Mkdir(filepath.Join(first, "one"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := driver{plugins: []string{first, second}}
	for _, c := range []struct{ name, want, refused string }{
		{name: "both", want: filepath.Join(first, "both")},
		{name: "one", want: filepath.Join(second, "one")}, // not the directory
		{name: "none", refused: `Could not find plugin "none"`},
		{name: "", refused: "invalid plugin type"},
		{name: ".", refused: "invalid plugin type"},
		{name: "..", refused: "invalid plugin type"},
		{name: "../outside", refused: "invalid plugin type"},
		{name: "/bin/true", refused: "invalid plugin type"},
		{name: "a/b", refused: "invalid plugin type"},
		{name: "a\x00b", refused: "invalid plugin type"},
	} {
		got, err := d.find(c.name)
		if got != c.want || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("find(%q) = %q, %v", c.name, got, err)
		}
	}
}

func TestPlainError(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		err  error
		want string
	}{
		{&types.Error{Msg: "message"}, "message"},
		{&types.Error{Msg: "message", Details: "details"}, "message; details"},
		{other, "other"},
	} {
		if got := plainError(c.err).Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func writeTo(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStateRoundTrip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	want := &state{
		NetNS: "/run/netns/x", Plugins: []string{"a", "b"}, Tree: "deps-1",
		Ports: []call.Port{{Name: "web", Proto: "tcp", HostIP: netip.MustParseAddr("::1"), HostPort: 1, PodPort: 2}},
		Rules: firewall.Pod{
			ID:          "id",
			Masquerades: []firewall.Masquerade{{Network: "n", Addr: netip.MustParsePrefix("10.1.2.3/24")}},
			Forwards:    []firewall.Forward{{Name: "web", Proto: "tcp", HostPort: 1, PodPort: 2, To: netip.MustParseAddr("10.1.2.3"), Subnet: netip.MustParsePrefix("10.1.2.0/24")}},
		},
		Nets: []netinfo.Network{{Name: "n", Args: `<&>"`}}, Confs: [][]byte{{0, '\n', 255}},
	}
	if err := want.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readState(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// TestReadStateDamaged has readState take nothing that set-up has not written.
func TestReadStateDamaged(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		writeTo(t, path, text)
		return path
	}
	whole := file("whole", `{"netns": "/x"}`)
	link, big := filepath.Join(dir, "link"), file("big", "")
	fifo := filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(whole, link), os.Truncate(big, maxState+1), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"empty": file("empty", ""), "cut off": file("cut", `{"netns": "/x`), "zeros": file("zeros", strings.Repeat("\x00", 100)),
		"another type": file("list", "[]"), "configurations are missing": file("confs", `{"networks": [{}]}`),
		"too big": big, "a link": link, "a pipe": fifo, "a directory": dir,
	} {
		if st, err := readState(path); !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	if st, err := readState(filepath.Join(dir, "none")); err != nil || !reflect.DeepEqual(st, &state{}) {
		t.Errorf("without a file: %+v, %v", st, err)
	}
}
