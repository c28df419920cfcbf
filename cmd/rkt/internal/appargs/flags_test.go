// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/isolator"
)

func TestIsolatorFlags(t *testing.T) {
	p, _, err := parse("a", "--memory=8Mi", "--memory=16Mi", "--cpu=500m", "--cpu-shares=10", "--oom-score-adj=-5",
		"--cap-retain=CAP_KILL", "--caps-retain=CAP_CHOWN", "--seccomp=mode=retain,chmod", "--seccomp=mode=remove,chown")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range p.Apps[0].Isolators {
		names = append(names, string(i.Name))
	}
	want := []string{
		"resource/memory", "resource/cpu", "os/linux/cpu-shares", "os/linux/oom-score-adj",
		"os/linux/capabilities-retain-set", "os/linux/seccomp-remove-set",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if v := string(p.Apps[0].Isolators[0].Value); !strings.Contains(v, "16Mi") {
		t.Errorf("memory is %s", v)
	}
}

func TestMoreIsolatorFlags(t *testing.T) {
	p, _, err := parse("a", "--pids-limit=5", "--pids-limit=100", "--io-weight=500", "--ulimit=nofile=1024:2048", "--ulimit", "core=0", "--ulimit=nofile=7")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := isolator.Parse(isolator.Mark(p.Apps[0].Isolators, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []isolator.Rlimit{{Name: "core", Resource: 4}, {Name: "nofile", Resource: 7, Soft: 7, Hard: 7}}
	if diff := cmp.Diff(want, plan.Rlimits); diff != "" {
		t.Error(diff)
	}
	if plan.Pids == nil || plan.Pids.Limit != 100 || plan.IOWeight == nil || plan.IOWeight.Value != 500 {
		t.Errorf("%+v %+v", plan.Pids, plan.IOWeight)
	}
	for _, tt := range []struct{ flag, want string }{
		{"--pids-limit=0", "pids limit must be between 1 and 4194304, got 0"},
		{"--pids-limit=x", `"x" is not an integer`},
		{"--io-weight=10001", "os/linux/io-weight must be between 1 and 10000, got 10001"},
		{"--ulimit=nofile", `"nofile" is not a resource limit: it is NAME=SOFT[:HARD]`},
		{"--ulimit=nofile=2:1", "nofile: the soft limit is above the hard one"},
	} {
		if _, _, err := parse("a", tt.flag); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.flag, err, tt.want)
		}
	}
	if _, _, err := parse("--pids-limit=5", "a"); err == nil || !strings.Contains(err.Error(), "--pids-limit must follow an image") {
		t.Error(err)
	}
}

func TestSysctlFlag(t *testing.T) {
	var f SysctlFlag
	if list, err := f.Isolators(); err != nil || list != nil || f.String() != "" {
		t.Errorf("%v, %v", list, err)
	}
	for _, s := range []string{"net.core.somaxconn=100", "kernel.sem=1 2 3 4", "net.core.somaxconn=200"} {
		if err := f.Set(s); err != nil {
			t.Error(err)
		}
	}
	if got := f.String(); got != "kernel.sem=1 2 3 4,net.core.somaxconn=200" {
		t.Error(got)
	}
	list, err := f.Isolators()
	if err != nil || len(list) != 1 || string(list[0].Value) != `{"kernel.sem":"1 2 3 4","net.core.somaxconn":"200"}` {
		t.Errorf("%s, %v", list, err)
	}
	if _, err := isolator.ParsePod(list); err != nil {
		t.Error(err)
	}
	if err := f.Set("kernel.panic=1"); err == nil {
		t.Error("a parameter of the host is taken")
	}
}

func TestPortFlag(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want appc.ExposedPort
		err  string
	}{
		{in: "http:80", want: appc.ExposedPort{Name: "http", HostPort: 80}},
		{in: "http:127.0.0.1:80", want: appc.ExposedPort{Name: "http", HostPort: 80, HostIP: "127.0.0.1"}},
		{in: "http:[::1]:80", want: appc.ExposedPort{Name: "http", HostPort: 80, HostIP: "::1"}},
		{in: "8080-tcp:8080", want: appc.ExposedPort{Name: "8080-tcp", HostPort: 8080}},
		{in: "http:0.0.0.0:8080-tcp", err: `invalid port number "8080-tcp"`},
		{in: "http:80-90", err: `invalid port number "80-90"`},
		{in: "http", err: `"http" is not in name:[ip:]port format`},
		{in: "http:1:2:3", err: `"http:1:2:3" is not in name:[ip:]port format`},
		{in: "http:[::1]80", err: `is not in name:[ip:]port format`},
		{in: "HTTP:80", err: `"HTTP" is not a valid port name`},
		{in: "http:localhost:80", err: `"localhost" is not a valid IP`},
		{in: "http:[127.0.0.1]:80", err: `is not a valid IP`},
		{in: "http:65536", err: `invalid port number "65536"`},
		{in: "http:", err: `invalid port number ""`},
	} {
		got, err := ParsePort(tc.in)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %s", tc.in, err, tc.err)
			}
			continue
		}
		if err != nil || got != tc.want || formatPort(got) != tc.in {
			t.Errorf("%s: %+v, %v", tc.in, got, err)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	f.Add("http:80")
	f.Add("a:[::1]:65535")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePort(s)
		if err != nil {
			return
		}
		if again, err := ParsePort(formatPort(p)); err != nil || again != p {
			t.Errorf("%q: %+v, again %+v, %v", s, p, again, err)
		}
	})
}

func TestNetFlag(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want string
		err  string
	}{
		{in: nil, want: "default"},
		{in: []string{"a:IP=1.2.3.4;X=y,b", "c"}, want: "a:IP=1.2.3.4;X=y,b,c"},
		{in: []string{""}, err: "netname must not be empty"},
		{in: []string{"a,"}, err: "netname must not be empty"},
		{in: []string{"a", "b,a:X=y"}, err: `found duplicate netname "a"`},
		{in: []string{"host:IP=1"}, err: `arguments are not supported by special netname "host"`},
		{in: []string{"all:"}, err: `arguments are not supported by special netname "all"`},
		{in: []string{"a:IP=fd00::2;X=y:z,b"}, want: "a:IP=fd00::2;X=y:z,b"},
		{in: []string{"host"}, want: "host"},
		{in: []string{"none:A=b"}, want: "none:A=b"},
		{in: []string{"host", "host"}, err: `found duplicate netname "host"`},
		{in: []string{"a,host"}, err: `the network "host" goes with no other`},
		{in: []string{"none", "default"}, err: `the network "none" goes with no other`},
	} {
		var f NetFlag
		var err error
		for _, s := range tc.in {
			if err = f.Set(s); err != nil {
				break
			}
		}
		if tc.err != "" && (err == nil || err.Error() != tc.err) || tc.err == "" && (err != nil || f.String() != tc.want) {
			t.Errorf("%q: %s, %v", tc.in, f.String(), err)
		}
	}
	if f := (&NetFlag{}); !f.Has(NetDefault) || f.Has(NetHost) {
		t.Error("the zero value is not the default network")
	}
}

func FuzzNetFlag(f *testing.F) {
	f.Add("default")
	f.Add("a:IP=1;B=2,b")
	f.Fuzz(func(t *testing.T, s string) {
		var first, again NetFlag
		if first.Set(s) != nil {
			return
		}
		if err := again.Set(first.String()); err != nil || again.String() != first.String() {
			t.Errorf("%q: %q, again %q, %v", s, first.String(), again.String(), err)
		}
	})
}

func TestDNS(t *testing.T) {
	for _, tc := range []struct {
		in   DNSFlags
		want DNS
		err  string
	}{
		{want: DNS{ResolvMode: "default", HostsMode: "default"}},
		{in: DNSFlags{Servers: ListFlag{"host"}}, want: DNS{ResolvMode: "host", HostsMode: "default"}},
		{in: DNSFlags{Servers: ListFlag{"none"}}, want: DNS{ResolvMode: "none", HostsMode: "default"}},
		{
			in:   DNSFlags{Servers: ListFlag{"8.8.8.8", "::1"}, Search: WordsFlag{"x"}, Options: WordsFlag{"ndots:5", "a,b"}, Domain: "d"},
			want: DNS{ResolvMode: "stage0", HostsMode: "default", Servers: []string{"8.8.8.8", "::1"}, Search: []string{"x"}, Options: []string{"ndots:5", "a,b"}, Domain: "d"},
		},
		{
			in: DNSFlags{HostsEntries: ListFlag{"1.2.3.4=a", "::1=b", "1.2.3.4=c"}},
			want: DNS{ResolvMode: "default", HostsMode: "stage0", Hosts: []HostsEntry{
				{"1.2.3.4", []string{"a", "c"}}, {"::1", []string{"b"}},
			}},
		},
		{in: DNSFlags{HostsEntries: ListFlag{"host"}}, want: DNS{ResolvMode: "default", HostsMode: "host"}},
		{in: DNSFlags{HostsEntries: ListFlag{"host", "host"}}, want: DNS{ResolvMode: "default", HostsMode: "host"}},
		{in: DNSFlags{HostsEntries: ListFlag{"host", "x"}}, err: "cannot pass --hosts-entry=host with multiple hosts-entries"},
		{in: DNSFlags{Options: WordsFlag{"debug"}}, want: DNS{ResolvMode: "stage0", HostsMode: "default", Options: []string{"debug"}}},
		{in: DNSFlags{Servers: ListFlag{"host"}, Search: WordsFlag{"d"}}, err: "Cannot call --dns-opt, --dns-search, or --dns-domain with --dns=host"},
		{in: DNSFlags{Servers: ListFlag{"1.1.1.1", "host"}}, err: "no other --dns options allowed when --dns=host is passed"},
		{in: DNSFlags{Servers: ListFlag{"fe80::1%eth0\nsearch x"}}, err: "Invalid IP passed to --dns: fe80::1%eth0\nsearch x"},
		{in: DNSFlags{HostsEntries: ListFlag{"fe80::1%a b=c"}}, err: "Invalid IP passed to --hosts-entry: fe80::1%a b"},
		{in: DNSFlags{Servers: ListFlag{"x"}}, err: "Invalid IP passed to --dns: x"},
		{in: DNSFlags{Servers: ListFlag{"none"}, Domain: "d"}, err: "Cannot call --dns-opt, --dns-search, or --dns-domain with --dns=none"},
		{in: DNSFlags{Search: WordsFlag{"a\nnameserver 6.6.6.6"}}, err: "control character"},
		{in: DNSFlags{HostsEntries: ListFlag{"x"}}, err: "Did not understand --hosts-entry x"},
		{in: DNSFlags{HostsEntries: ListFlag{"1.1.1.1=a b"}}, err: "Did not understand --hosts-entry 1.1.1.1=a b"},
		{in: DNSFlags{HostsEntries: ListFlag{"x=y"}}, err: "Invalid IP passed to --hosts-entry: x"},
		{in: DNSFlags{HostsEntries: ListFlag{"1.1.1.1=a", "host"}}, err: "cannot pass --hosts-entry=host with multiple hosts-entries"},
	} {
		got, err := tc.in.DNS()
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%+v: %v, want %s", tc.in, err, tc.err)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %v\n%s", tc.in, err, diff)
		}
	}
}

func TestCheckHostname(t *testing.T) {
	for name, ok := range map[string]bool{"": true, "my_pod": true, "a.b": true, "a b": false, "a\n": false, "../x": false, strings.Repeat("a", 65): false} {
		if err := CheckHostname(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := CheckIPC("x"); fmt.Sprint(err) != "unknown value for --ipc parameter: x" {
		t.Error(err)
	}
}

func TestEnvironmentFlags(t *testing.T) {
	content := map[string]string{
		"f":   "# comment\n;other\n\nA=file\nB= x \n",
		"g":   "A=again\n",
		"bad": "A\n",
	}
	read := func(path string) ([]byte, error) { return []byte(content[path]), nil }
	files := EnvFiles{Read: read}
	var set EnvFlag
	steps := []struct {
		err  error
		want string
	}{
		{files.Set("f"), ""},
		{files.Set("g"), `environment variable "A" already set (file "g")`},
		{files.Set("bad"), `environment variable must be specified as name=value (file "bad")`},
		{set.Set("A=set"), ""},
		{set.Set("A=twice"), `key "A" already set`},
		{set.Set("A"), "must be specified as key=value"},
		{set.Set("C="), ""},
	}
	for i, s := range steps {
		if (s.err == nil) != (s.want == "") || s.err != nil && s.err.Error() != s.want {
			t.Errorf("step %d: %v, want %s", i, s.err, s.want)
		}
	}
	want := appc.Environment{{Name: "A", Value: "file"}, {Name: "B", Value: " x "}}
	if diff := cmp.Diff(want, files.Env); diff != "" || !files.Given() {
		t.Error(diff)
	}
	want = appc.Environment{{Name: "A", Value: "set"}, {Name: "C", Value: ""}}
	if diff := cmp.Diff(want, set.Env); diff != "" {
		t.Error(diff)
	}
}

// Whatever a file gives, written back as a file gives the same.
func FuzzEnvFile(f *testing.F) {
	f.Add("A=b\n# c\nD=e=f\n")
	f.Fuzz(func(t *testing.T, text string) {
		var first, again EnvFiles
		if first.add("f", text) != nil {
			return
		}
		var b strings.Builder
		for _, v := range first.Env {
			fmt.Fprintf(&b, "%s=%s\n", v.Name, v.Value)
		}
		if err := again.add("f", b.String()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first.Env, again.Env); diff != "" {
			t.Error(diff)
		}
	})
}
