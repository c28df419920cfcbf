// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("long-", 15)
	for name, tt := range map[string]struct {
		data  string
		chain bool
		want  conf
	}{
		"built-in": {
			data: `{"cniVersion": "0.1.0", "name": "default", "type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "172.16.28.0/24"}}`,
			want: conf{name: "default", version: "0.1.0", types: []string{"ptp"}, ipamType: "host-local", ipMasq: true},
		},
		"case of keys": {
			data: `{"CNIVERSION": "0.2.0", "Name": "n", "Type": "bridge", "IpMasq": true, "IPAM": {"TYPE": "dhcp"}}`,
			want: conf{name: "n", version: "0.2.0", types: []string{"bridge"}, ipamType: "dhcp", ipMasq: true},
		},
		"no version": {data: `{"name": "n", "type": "t"}`, want: conf{name: "n", version: "0.1.0", types: []string{"t"}}},
		"unknown version": {
			data: `{"cniVersion": "9.0.0", "name": "n", "type": "t"}`,
			want: conf{name: "n", version: "9.0.0", types: []string{"t"}},
		},
		"unknown keys": {
			data: `{"name": "n", "type": "t", "args": ["a=b"], "master": 5, "x": {"y": [null]}, "ipMasq": "yes"}`,
			want: conf{name: "n", version: "0.1.0", types: []string{"t"}},
		},
		"last key wins": {
			data: `{"name": "a", "NAME": "n", "type": "x", "Type": "t"}`,
			want: conf{name: "n", version: "0.1.0", types: []string{"t"}},
		},
		"long name":  {data: `{"name": "` + long + `", "type": "t"}`, want: conf{name: long, version: "0.1.0", types: []string{"t"}}},
		"odd letter": {data: `{"name": "A.b_c-0", "type": "a.b"}`, want: conf{name: "A.b_c-0", version: "0.1.0", types: []string{"a.b"}}},
		"capabilities": {
			data: `{"name": "n", "type": "t", "capabilities": {"portMappings": true, "ips": false}}`,
			want: conf{name: "n", version: "0.1.0", types: []string{"t"}, capabilities: map[string]bool{"portMappings": true, "ips": false}},
		},
		"chain": {
			data: `{"cniVersion": "0.4.0", "name": "n", "plugins": [
				{"type": "bridge", "capabilities": {"ips": false}, "ipam": {"type": "host-local"}},
				{"type": "portmap", "IPMasq": true, "capabilities": {"ips": true}, "ipam": {"type": "other"}}]}`,
			chain: true,
			want: conf{
				name: "n", version: "0.4.0", types: []string{"bridge", "portmap"}, ipamType: "host-local", ipMasq: true,
				capabilities: map[string]bool{"ips": true},
			},
		},
		"versions": {
			data:  `{"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "99.0.0", "0.1.0"], "name": "n", "plugins": [{"type": "t"}]}`,
			chain: true,
			want:  conf{name: "n", version: "1.0.0", types: []string{"t"}},
		},
		"versions are a matter of chains": {
			data: `{"cniVersion": "0.4.0", "cniVersions": ["1.0.0"], "name": "n", "type": "t"}`,
			want: conf{name: "n", version: "0.4.0", types: []string{"t"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.want.capabilities == nil {
				tt.want.capabilities = map[string]bool{}
			}
			got, err := parse([]byte(tt.data), tt.chain)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		data  string
		chain bool
		name  string
		want  string // a part
	}{
		"empty":              {data: ``, want: "not a JSON object"},
		"text":               {data: `name: n`, want: "not a JSON object"},
		"array":              {data: `[]`, want: "not a JSON object"},
		"null":               {data: `null`, want: "no name"},
		"more behind":        {data: `{"name": "n", "type": "t"} {}`, want: "not a JSON object"},
		"no name":            {data: `{"type": "t"}`, want: "no name"},
		"name of odd type":   {data: `{"name": ["n"], "type": "t"}`, want: "name: "},
		"name with slash":    {data: `{"name": "a/b", "type": "t"}`, want: `invalid name "a/b"`},
		"name with newline":  {data: `{"name": "a\n", "type": "t"}`, want: `invalid name "a\n"`},
		"name with dot":      {data: `{"name": "..", "type": "t"}`, want: `invalid name ".."`},
		"name with comma":    {data: `{"name": "a,b", "type": "t"}`, want: `invalid name "a,b"`},
		"no type":            {data: `{"name": "n"}`, name: "n", want: "no type"},
		"type of odd type":   {data: `{"name": "n", "type": 7}`, name: "n", want: "type: "},
		"type with slash":    {data: `{"name": "n", "type": "/bin/sh"}`, name: "n", want: `invalid type "/bin/sh"`},
		"type above":         {data: `{"name": "n", "type": ".."}`, name: "n", want: `invalid type ".."`},
		"type of NUL":        {data: `{"name": "n", "type": "a\u0000"}`, name: "n", want: `invalid type "a\x00"`},
		"type of directory":  {data: `{"name": "n", "type": "."}`, name: "n", want: `invalid type "."`},
		"version of number":  {data: `{"name": "n", "type": "t", "cniVersion": 0.3}`, name: "n", want: "cniVersion: "},
		"version of text":    {data: `{"name": "n", "type": "t", "cniVersion": "new"}`, name: "n", want: `cniVersion "new": `},
		"ipam of odd type":   {data: `{"name": "n", "type": "t", "ipam": "dhcp"}`, name: "n", want: "ipam"},
		"dns of odd type":    {data: `{"name": "n", "type": "t", "dns": 8}`, name: "n", want: "dns"},
		"list in .conf":      {data: `{"name": "n", "plugins": [{"type": "t"}]}`, name: "n", want: ".conflist"},
		"chain of none":      {data: `{"name": "n", "plugins": []}`, chain: true, name: "n", want: "no plugins"},
		"chain without":      {data: `{"name": "n", "type": "t"}`, chain: true, name: "n", want: "no plugins"},
		"chain of odd type":  {data: `{"name": "n", "plugins": {}}`, chain: true, name: "n", want: "plugins: "},
		"chain of null":      {data: `{"name": "n", "plugins": [null]}`, chain: true, name: "n", want: "no type"},
		"chain of text":      {data: `{"name": "n", "plugins": ["t"]}`, chain: true, name: "n", want: "plugin 0: "},
		"chain of versions":  {data: `{"name": "n", "cniVersions": "1.0.0", "plugins": [{"type": "t"}]}`, chain: true, name: "n", want: "cniVersions: "},
		"long chain":         {data: `{"name": "n", "plugins": [{"type": "t"}` + strings.Repeat(`,{"type": "t"}`, maxPlugins) + `]}`, chain: true, name: "n", want: "65 plugins, more than 64"},
		"odd disableCheck":   {data: `{"name": "n", "disableCheck": 7, "plugins": [{"type": "t"}]}`, chain: true, name: "n", want: "disableCheck"},
		"type in the second": {data: `{"name": "n", "plugins": [{"type": "t"}, {"type": "../t"}]}`, chain: true, name: "n", want: `invalid type "../t"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse([]byte(tt.data), tt.chain)
			if err == nil || !strings.Contains(err.Error(), tt.want) || got.name != tt.name {
				t.Errorf("got %+v, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestConfList(t *testing.T) {
	for name, tt := range map[string]struct {
		data  string
		chain bool
		want  []string
	}{
		"one": {
			data: `{"CniVersion": "0.2.0", "cniversion": "0.3.1", "NAME": "n", "Type": "t", "IPAM": {"Type": "x"}, "args": ["a=b"]}`,
			want: []string{`{"args": ["a=b"], "cniVersion": "0.3.1", "name": "n", "type": "t", "ipam": {"Type": "x"}}`},
		},
		"chain": {
			data:  `{"Name": "n", "cniVersion": "0.3.1", "PLUGINS": [{"type": "a"}, {"TYPE": "b", "Capabilities": {"ips": true}}]}`,
			chain: true,
			want:  []string{`{"type": "a"}`, `{"type": "b", "capabilities": {"ips": true}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse([]byte(tt.data), tt.chain)
			if err != nil {
				t.Fatal(err)
			}
			list, err := confList([]byte(tt.data), c, tt.chain)
			if err != nil {
				t.Fatal(err)
			}
			if list.Name != "n" || list.CNIVersion != "0.3.1" || len(list.Plugins) != len(tt.want) {
				t.Fatalf("%+v", list)
			}
			for i, p := range list.Plugins {
				if !sameJSON(t, string(p.Bytes), tt.want[i]) {
					t.Errorf("plugin %d: %s, want %s", i, p.Bytes, tt.want[i])
				}
			}
		})
	}
}

func TestConfListKeepsTheRest(t *testing.T) {
	data := []byte(`{"name": "n", "DisableCheck": true, "disableGC": "true", "cniVersions": ["1.1.0"], "plugins": [{"type": "t"}]}`)
	c, err := parse(data, true)
	if err != nil {
		t.Fatal(err)
	}
	list, err := confList(data, c, true)
	if err != nil {
		t.Fatal(err)
	}
	if !list.DisableCheck || !list.DisableGC || list.CNIVersion != "1.1.0" {
		t.Errorf("%+v", list)
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
