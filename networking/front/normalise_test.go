// SPDX-License-Identifier: Apache-2.0

package front

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNormalise(t *testing.T) {
	bridge := facts{plugin: "bridge", ipv6: true, masquerade: true}
	noIPv6 := facts{plugin: "ptp"}
	for _, tc := range []struct {
		name     string
		about    facts
		in, want string
	}{
		{
			"keys",
			facts{},
			`{"cniversion":"1.0.0","Name":"n","IpMasq":true,"IsGateway":true,"My_Key":{"Name":1},"Ipam":{"Type":"host-local","Subnet":"10.0.0.0/8","Routes":[{"Dst":"0.0.0.0/0","GW":"10.0.0.1"}],"RANGES":[[{"SUBNET":"10.1.0.0/16"}]]}}`,
			`{"cniVersion":"1.0.0","name":"n","ipMasq":true,"isGateway":true,"My_Key":{"Name":1},"ipam":{"type":"host-local","subnet":"10.0.0.0/8","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}],"ranges":[[{"subnet":"10.1.0.0/16"}]]}}`,
		},
		{"last key wins", facts{}, `{"cniVersion":"1.0.0","Name":"a","name":"b","NAME":"c"}`, `{"cniVersion":"1.0.0","name":"c"}`},
		{"args array", facts{}, `{"cniVersion":"1.0.0","args":["a=b"]}`, `{"cniVersion":"1.0.0"}`},
		{"args object", facts{}, `{"cniVersion":"1.0.0","args":{"cni":{"ips":[]}}}`, `{"cniVersion":"1.0.0","args":{"cni":{"ips":[]}}}`},
		{"no version", facts{}, `{"name":"n"}`, `{"cniVersion":"0.1.0","name":"n"}`},
		{
			"host bits",
			facts{},
			`{"cniVersion":"1.0.0","ipam":{"subnet":"11.11.3.1/24","ranges":[[{"subnet":"11.11.4.9/24"},{"subnet":"fd00::1/64"}],[{"subnet":"x"}]]}}`,
			`{"cniVersion":"1.0.0","ipam":{"subnet":"11.11.3.0/24","ranges":[[{"subnet":"11.11.4.0/24"},{"subnet":"fd00::/64"}],[{"subnet":"x"}]]}}`,
		},
		{"masquerade", bridge, `{"cniVersion":"1.0.0","ipMasq":true,"mtu":1400}`, `{"cniVersion":"1.0.0","mtu":1400}`},
		{"the user's backend", bridge, `{"cniVersion":"1.0.0","ipMasq":true,"ipMasqBackend":"iptables"}`, `{"cniVersion":"1.0.0","ipMasq":true,"ipMasqBackend":"iptables"}`},
		{"not our masquerade", facts{plugin: "bridge"}, `{"cniVersion":"1.0.0","ipMasq":true}`, `{"cniVersion":"1.0.0","ipMasq":true}`},
		{"no plugin that masquerades", facts{plugin: "host-local", masquerade: true}, `{"cniVersion":"1.0.0","ipMasq":true}`, `{"cniVersion":"1.0.0","ipMasq":true}`},
		{
			"default route", bridge,
			`{"cniVersion":"1.0.0","isDefaultGateway":true,"ipam":{"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.0.0.0/8"},{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]}}`,
			`{"cniVersion":"1.0.0","isDefaultGateway":true,"ipam":{"routes":[{"dst":"10.0.0.0/8"},{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]}}`,
		},
		{
			"default route of ptp",
			facts{plugin: "ptp"},
			`{"cniVersion":"1.0.0","isDefaultGateway":true,"ipam":{"routes":[{"dst":"0.0.0.0/0"}]}}`,
			`{"cniVersion":"1.0.0","isDefaultGateway":true,"ipam":{"routes":[{"dst":"0.0.0.0/0"}]}}`,
		},
		{
			"no IPv6", noIPv6,
			`{"cniVersion":"1.0.0","ipv6":"auto","ipam":{"subnet":"fd00::/64","gateway":"fd00::1","ranges":[[{"subnet":"10.0.0.0/8"}],[{"subnet":"fd01::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],"addresses":[{"address":"fd02::2/64"},{"address":"10.0.0.2/8"}]}}`,
			`{"cniVersion":"1.0.0","ipam":{"ranges":[[{"subnet":"10.0.0.0/8"}]],"routes":[{"dst":"0.0.0.0/0"}],"addresses":[{"address":"10.0.0.2/8"}]}}`,
		},
		{
			"IPv6",
			facts{plugin: "ptp", ipv6: true},
			`{"cniVersion":"1.0.0","ipv6":"auto","ipam":{"ranges":[[{"subnet":"fd01::/64"}]],"routes":[{"dst":"::/0"}]}}`,
			`{"cniVersion":"1.0.0","ipam":{"ranges":[[{"subnet":"fd01::/64"}]],"routes":[{"dst":"::/0"}]}}`,
		},
		{
			"no IPv6, asked for", noIPv6,
			`{"cniVersion":"1.0.0","ipam":{"subnet":"fd01::/64"}}`, `{"cniVersion":"1.0.0","ipam":{"subnet":"fd01::/64"}}`,
		},
		{"odd values", bridge, `{"cniVersion":"1.0.0","ipam":[1],"ipMasq":"true","ipv6":1}`, `{"cniVersion":"1.0.0","ipam":[1],"ipMasq":"true","ipv6":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := parseConf([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(encode(o.normalise(tc.about)), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseConfRefuses(t *testing.T) {
	for _, in := range []string{"", "{", "[]", "null", `"a"`, "{}{}", `{"a":}`} {
		if o, err := parseConf([]byte(in)); err == nil {
			t.Errorf("%q was read as %v", in, o)
		}
	}
}

func TestCheck(t *testing.T) {
	const master = `"master" field is required. It specifies the host interface name to virtualize`
	for _, tc := range []struct{ plugin, conf, want string }{
		{"macvlan", `{}`, master},
		{"ipvlan", `{"Master":""}`, master},
		{"ipvlan", `{"master":"eth0"}`, ""},
		{"ipvlan", `{"prevResult":{}}`, ""},
		{"ptp", `{}`, ""},
		{"bridge", `{"isDefaultGateway":true,"ipam":{"subnet":"10.0.0.0/8","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.9"}]}}`, "isDefaultGateway makes 10.0.0.1 the default gateway, but a route of ipam names 10.0.0.9"},
		{"bridge", `{"isDefaultGateway":true,"ipam":{"subnet":"10.0.0.0/8","gateway":"10.0.0.9","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.9"}]}}`, ""},
	} {
		o, err := parseConf([]byte(tc.conf))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := o.check(tc.plugin); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, not %q", tc.plugin, tc.conf, got, tc.want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"Name":"n","args":["a"],"ipam":{"subnet":"11.11.3.1/24","ranges":[[{"subnet":"fd00::1/64"}]],"routes":[{"dst":"::/0"}]},"ipv6":"auto"}`,
		`{"type":"bridge","isDefaultGateway":true,"ipMasq":true,"ipam":{"routes":[{"dst":"0.0.0.0/0"},null,1]}}`,
		`{"delegate":{"IPAM":{}},"ipam":[[[]]],"\u212aey":"<&>","cniVersion":null}`,
	} {
		f.Add([]byte(seed), true, false)
	}
	f.Fuzz(func(t *testing.T, conf []byte, ipv6, masquerade bool) {
		for _, plugin := range []string{"bridge", "ptp", "tuning"} {
			about := facts{plugin: plugin, ipv6: ipv6, masquerade: masquerade}
			o, err := parseConf(conf)
			if err != nil {
				return
			}
			once := encode(o.normalise(about))
			o, err = parseConf(once)
			if err != nil {
				t.Fatalf("%s: %v", once, err)
			}
			if twice := encode(o.normalise(about)); string(once) != string(twice) {
				t.Fatalf("once\n%s\ntwice\n%s", once, twice)
			}
			_ = o.check(plugin)
			_, _ = compose(o, subnetEnv{})
			_ = encode(withPrevResult(plugin, "ADD", o))
		}
	})
}

func TestMainArgs(t *testing.T) {
	local := argsOf{plugin: "bridge", ipam: "host-local", ours: true, command: "ADD"}
	other := func(change func(*argsOf)) argsOf { o := local; change(&o); return o }
	del := other(func(o *argsOf) { o.command = "DEL" })
	foreign := other(func(o *argsOf) { o.ipam, o.ours = "mine", false })
	for _, tc := range []struct {
		of       argsOf
		in, want string
	}{
		{local, "", ""},
		{local, "IP=1.2.3.4", "IP=1.2.3.4;IgnoreUnknown=1"},
		{local, "IP=1.2.3.4;MAC=a", "IP=1.2.3.4;MAC=a;IgnoreUnknown=1"},
		{local, "a=b", `error ARGS: unknown args ["a=b"]`},
		{local, "GATEWAY=1.2.3.4", `error ARGS: unknown args ["GATEWAY=1.2.3.4"]`},
		{local, "a=b;IgnoreUnknown=true", "a=b;IgnoreUnknown=true;IgnoreUnknown=1"},
		{local, "ab", `error ARGS: invalid pair "ab"`},
		{local, "ab;IgnoreUnknown=1", `error ARGS: invalid pair "ab"`},
		{del, "ab;c=d;IP=x", "c=d;IgnoreUnknown=1"},
		{del, "ab", "IgnoreUnknown=1"},
		{foreign, "a=b", "a=b;IgnoreUnknown=1"},
		{other(func(o *argsOf) { o.plugin, o.ipam, o.ours = "ptp", "mine", false }), "a=b", "a=b"},
		{other(func(o *argsOf) { o.ipam = "static" }), "GATEWAY=1.2.3.4", "GATEWAY=1.2.3.4;IgnoreUnknown=1"},
		{other(func(o *argsOf) { o.ipam = "dhcp" }), "a=b", "a=b;IgnoreUnknown=1"},
		{other(func(o *argsOf) { o.plugin = "host-local" }), "a=b", "a=b"},
	} {
		got, err := mainArgs(tc.of, tc.in)
		if err != nil {
			got = "error " + err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v %q: %q, not %q", tc.of, tc.in, got, tc.want)
		}
	}
}

func TestParseSubnetEnv(t *testing.T) {
	got, err := parseSubnetEnv([]byte("FLANNEL_NETWORK=11.11.0.0/16\nFLANNEL_SUBNET=11.11.3.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\nOTHER=1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.networks[0].String() != "11.11.0.0/16" || got.subnet.String() != "11.11.3.1/24" || got.mtu != 1472 || !got.masqueraded {
		t.Errorf("%+v", got)
	}
	for in, want := range map[string]string{
		"":                                   "no FLANNEL_NETWORK",
		"FLANNEL_NETWORK=11.11.0.0/16":       "no FLANNEL_SUBNET",
		"FLANNEL_NETWORK=11.11.0.0":          "FLANNEL_NETWORK",
		"FLANNEL_MTU=x":                      "FLANNEL_MTU",
		"FLANNEL_MTU=-1":                     "FLANNEL_MTU",
		"FLANNEL_IPMASQ=maybe":               "FLANNEL_IPMASQ",
		"FLANNEL_SUBNET=11.11.0.0/16/1\na=b": "FLANNEL_SUBNET",
	} {
		if _, err := parseSubnetEnv([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzSubnetEnv(f *testing.F) {
	f.Add([]byte("FLANNEL_NETWORK=11.11.0.0/16\nFLANNEL_SUBNET=11.11.3.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := parseSubnetEnv(content)
		if err != nil {
			return
		}
		if !s.subnet.IsValid() || len(s.networks) == 0 || s.mtu < 0 || s.mtu > maxMTU {
			t.Fatalf("%+v", s)
		}
		if !json.Valid(s.ipam(object{})) {
			t.Fatal("no JSON")
		}
	})
}

func TestCompose(t *testing.T) {
	subnet, err := parseSubnetEnv([]byte("FLANNEL_NETWORK=11.11.0.0/16\nFLANNEL_SUBNET=11.11.3.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n"))
	if err != nil {
		t.Fatal(err)
	}
	const ipam = `"ipam":{"routes":[{"dst":"11.11.0.0/16"}],"subnet":"11.11.3.0/24","type":"host-local"}`
	for _, tc := range []struct{ conf, want string }{
		{`{"name":"f","type":"flannel"}`, `{"ipMasq":false,` + ipam + `,"isGateway":true,"mtu":1472,"name":"f","type":"bridge"}`},
		{`{"name":"f","cniVersion":"0.2.0","delegate":{"Type":"ptp","ipmasq":true,"mtu":9}}`, `{"cniVersion":"0.2.0","ipMasq":true,` + ipam + `,"mtu":9,"name":"f","type":"ptp"}`},
		{`{"name":"f","delegate":{"Name":"x"}}`, `error "delegate" must not have "name": flannel sets it`},
		{`{"name":"f","delegate":{"IPAM":{}}}`, `error "delegate" must not have "ipam": flannel sets it`},
		{`{"name":"f","delegate":{"type":1}}`, `error "type" of "delegate" must be a string`},
		{`{"name":"f","delegate":[]}`, `error "delegate" must be an object`},
		{`{"name":"f","delegate":{"type":"flannel"}}`, `error flannel cannot be the delegate of itself`},
	} {
		conf, err := parseConf([]byte(tc.conf))
		if err != nil {
			t.Fatal(err)
		}
		out, err := compose(conf, subnet)
		got := string(out)
		if err != nil {
			got = "error " + err.Error()
		}
		if got != tc.want {
			t.Errorf("%s:\n%s, not\n%s", tc.conf, got, tc.want)
		}
	}
}
