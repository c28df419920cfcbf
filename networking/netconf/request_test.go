// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	long := strings.Repeat("n", 60)
	for list, want := range map[string]Request{
		"default":                        {[]item{{"default", ""}}},
		"default:IP=172.16.28.9":         {[]item{{"default", "IP=172.16.28.9"}}},
		"default-restricted,net1":        {[]item{{"default-restricted", ""}, {"net1", ""}}},
		"net1:IP=fd00::1;A=b,net2:C=d:e": {[]item{{"net1", "IP=fd00::1;A=b"}, {"net2", "C=d:e"}}},
		"net1:":                          {[]item{{"net1", ""}}},
		"host":                           {[]item{{"host", ""}}},
		"none":                           {[]item{{"none", ""}}},
		"all":                            {[]item{{"all", ""}}},
		"all,net1:A=b":                   {[]item{{"all", ""}, {"net1", "A=b"}}},
		long:                             {[]item{{long, ""}}},
	} {
		got, err := ParseRequest(list)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v; want %v", list, got, err, want)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                  "netname must not be empty",
		"a,,b":              "netname must not be empty",
		"a,":                "netname must not be empty",
		":A=b":              "netname must not be empty",
		"a,b,a":             `found duplicate netname "a"`,
		"a:A=b,a:C=d":       `found duplicate netname "a"`,
		"host,host":         `found duplicate netname "host"`,
		"host:A=b":          `arguments are not supported by special netname "host"`,
		"none:A=b":          `arguments are not supported by special netname "none"`,
		"all:A=b":           `arguments are not supported by special netname "all"`,
		"host,a":            `the network "host" goes with no other`,
		"a,none":            `the network "none" goes with no other`,
		"host,none":         `the network "host" goes with no other`,
		"all,none":          `the network "none" goes with no other`,
		"a:A=\x00":          `network "a" provided with invalid arguments: "A=\x00"`,
		"default,a,default": `found duplicate netname "default"`,
	} {
		got, err := ParseRequest(list)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v; want %q", list, got, err, want)
		}
	}
}

func TestRequest(t *testing.T) {
	for list, want := range map[string]struct {
		host, none, all bool
		names           []string
	}{
		"host":    {host: true},
		"none":    {none: true},
		"all":     {all: true},
		"all,b,a": {all: true, names: []string{"b", "a"}},
		"a:A=b":   {names: []string{"a"}},
	} {
		r := request(t, list)
		if r.IsHost() != want.host || r.IsNone() != want.none || r.All() != want.all || !slices.Equal(r.Names(), want.names) {
			t.Errorf("%q: %v, %v, %v, %q", list, r.IsHost(), r.IsNone(), r.All(), r.Names())
		}
	}
	r := request(t, "a:A=b;IP=::1,b")
	if got := r.Args("a"); got != "A=b;IP=::1" {
		t.Errorf("args of a: %q", got)
	}
	if r.Args("b") != "" || r.Args("c") != "" {
		t.Error("args of others")
	}
}

func request(t *testing.T, list string) Request {
	t.Helper()
	r, err := ParseRequest(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{"", "default", "host", "all,net1:IP=fd00::1;A=b", "a,,b", "none:x", "a:,b:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		r, err := ParseRequest(list)
		if err != nil {
			return
		}
		again, err := ParseRequest(r.String())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %v, then %v, %v", list, r, again, err)
		}
		names := r.Names()
		if !r.IsHost() && !r.IsNone() && !r.All() && len(names) == 0 {
			t.Errorf("%q asks for nothing", list)
		}
		if (r.IsHost() || r.IsNone()) && len(r.items) != 1 {
			t.Errorf("%q asks for more", list)
		}
		slices.Sort(names)
		if len(slices.Compact(names)) != len(r.Names()) || slices.Contains(names, "") {
			t.Errorf("%q: names %q", list, names)
		}
	})
}
