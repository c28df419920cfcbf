// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func parseAdd(words ...string) (*Parser, error) {
	p := &Parser{Words: 1}
	fs := pflag.NewFlagSet("add", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.Bool("debug", false, "")
	p.BindAdd(fs)
	return p, p.Parse(fs, words)
}

func TestParseAdd(t *testing.T) {
	yes := true
	p, err := parseAdd("--debug", "uuid", "img", "--name=a", "--mnt-volume", "name=v,kind=host,source=/a=b,target=/t,readOnly=true", "--mount=volume=v,target=/u", "--", "x", "---")
	if err != nil {
		t.Fatal(err)
	}
	want := []App{{Image: "img", Name: "a", Args: []string{"x"}, Mounts: []appc.Mount{
		{Volume: "v", Path: "/t", AppVolume: &appc.Volume{Name: "v", Kind: "host", Source: "/a=b", ReadOnly: &yes}},
		{Volume: "v", Path: "/u"},
	}}}
	if diff := cmp.Diff(want, p.Apps, ignoreSeen); diff != "" || !slices.Equal(p.Before, []string{"uuid"}) {
		t.Errorf("%q, %s", p.Before, diff)
	}
	for _, tt := range []struct {
		args []string
		want string
		flag bool
	}{
		{[]string{"--mnt-volume=x", "uuid", "img"}, "an image is required before any MountVolumes", true},
		{[]string{"uuid", "--mnt-volume=x", "img"}, "an image is required before any MountVolumes", true},
		{[]string{"uuid", "--name=x", "img"}, "--name must follow an image", true},
		{[]string{"uuid", "--", "x"}, "an image is required before any app arguments", false},
		{[]string{"uuid", "img", "--signature=x"}, "unknown flag: --signature", false},
		{[]string{"uuid", "img", "--mnt-volume=name=v,kind=empty"}, "missing target= parameter", false},
		{[]string{"uuid", "img", "--mnt-volume="}, "missing target= parameter", false},
	} {
		_, err := parseAdd(tt.args...)
		var flagErr *FlagError
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &flagErr) != tt.flag {
			t.Errorf("%q: %v, want %s (flag error %v)", tt.args, err, tt.want, tt.flag)
		}
	}
	if p, err := parseAdd("uuid"); err != nil || len(p.Apps) != 0 || len(p.Before) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestParseMountVolumeErrors(t *testing.T) {
	for value, want := range map[string]string{
		"kind=empty,target=/t":                              "name must be set",
		"name=v,target=/t":                                  `unrecognized volume kind: should be one of "empty", "host"`,
		"name=v,kind=nfs,target=/t":                         "unrecognized volume kind",
		"name=v,name=w,kind=empty,target=/t":                "name= is given twice",
		"name=v,kind=empty,target=/t,target=/u":             "target= is given twice",
		"name=v,kind=empty,target=":                         "missing target= parameter",
		"name=v,kind=host,source=x,target=/t":               "source for host volume must be absolute path",
		"name=v,kind=host,target=/t":                        "source for host volume cannot be empty",
		"name=v,kind=host,source=/s,mode=0755,target=/t":    "mode for host volume cannot be set",
		"name=v,kind=empty,source=/s,target=/t":             "source for empty volume must be empty",
		"name=v,kind=empty,mode=9,target=/t":                "not an octal number",
		"name=v,kind=empty,uid=-1,target=/t":                "out of range",
		"name=v,kind=empty,size=1,target=/t":                `unknown volume parameter "size"`,
		"name=v,kind=empty,kind=host,target=/t":             "multiple values",
		"name=v,kind=empty,noval,target=/t":                 `"noval" has no value`,
		"name=V_,kind=empty,target=/t":                      "ACName must contain only",
		"name=v,kind=empty,readOnly=maybe,target=/t":        "readOnly",
		"name=v,kind=empty,target=/t\x00":                   "NUL",
		"name=v,kind=host,source=/s\x00,target=/t":          "",
		"name=v,kind=host,source=/s,recursive=nah,target=/": "recursive",
	} {
		if m, err := ParseMountVolume(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", value, m, err, want)
		}
	}
}

// FuzzParseMountVolume: what was parsed, written out, parses to the same.
func FuzzParseMountVolume(f *testing.F) {
	f.Add("name=v,kind=host,source=/a=b,target=/t,readOnly=true,recursive=0")
	f.Add("target=/x y,mode=2750,uid=1,gid=2,kind=empty,name=v-1")
	f.Add("name=v,target=a%2Cb,kind=empty")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMountVolume(s)
		if err != nil {
			return
		}
		if m.AppVolume == nil || m.AppVolume.Name != m.Volume || m.Path == "" || strings.ContainsAny(m.Path+m.AppVolume.Source, ",\x00") {
			t.Fatalf("%q: %+v", s, m)
		}
		again, err := ParseMountVolume(formatMountVolume(m))
		if err != nil {
			t.Fatalf("%q: %v", formatMountVolume(m), err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Error(diff)
		}
	})
}

func formatMountVolume(m appc.Mount) string {
	v := m.AppVolume
	out := "name=" + v.Name.String() + ",kind=" + v.Kind + ",target=" + m.Path
	add := func(key, value string) { out += "," + key + "=" + value }
	if v.Source != "" {
		add("source", v.Source)
	}
	if v.ReadOnly != nil {
		add("readOnly", strconv.FormatBool(*v.ReadOnly))
	}
	if v.Recursive != nil {
		add("recursive", strconv.FormatBool(*v.Recursive))
	}
	if v.Mode != nil {
		add("mode", *v.Mode)
	}
	if v.UID != nil {
		add("uid", strconv.Itoa(*v.UID))
	}
	if v.GID != nil {
		add("gid", strconv.Itoa(*v.GID))
	}
	return out
}

func TestPodPortFlag(t *testing.T) {
	var f PodPortFlag
	for _, s := range []string{"http:tcp:80:0.0.0.0:8080", "dns:udp:53:[::1]:5353", "x:tcp:0:127.0.0.1:65535"} {
		if err := f.Set(s); err != nil {
			t.Error(err)
		}
	}
	if got := f.String(); got != "http:tcp:80:0.0.0.0:8080,dns:udp:53:[::1]:5353,x:tcp:0:127.0.0.1:65535" {
		t.Error(got)
	}
	want := appc.ExposedPort{Name: "dns", HostPort: 5353, HostIP: "::1", PodPort: &appc.Port{Name: "dns", Protocol: "udp", Port: 53, Count: 1}}
	if diff := cmp.Diff(want, f[1]); diff != "" {
		t.Error(diff)
	}
	for s, want := range map[string]string{
		"":                           `"" is not in name:proto:podPort:hostIP:hostPort format`,
		"http:8080":                  "is not in name:proto:podPort:hostIP:hostPort format",
		"http:tcp:80:8080":           "is not in name:proto:podPort:hostIP:hostPort format",
		"http:tcp:80:1.1.1.1:8080:1": "is not in name:proto:podPort:hostIP:hostPort format",
		"Http:tcp:80:1.1.1.1:8080":   `"Http" is not a valid port name`,
		"http:sctp:80:1.1.1.1:8080":  `"sctp" is not a valid protocol`,
		"http:tcp:65536:1.1.1.1:80":  `invalid port number "65536"`,
		"http:tcp:80:1.1.1.1:-1":     `invalid port number "-1"`,
		"http:tcp:80:host:80":        `"host" is not a valid IP`,
		"http:tcp:80::80":            `"" is not a valid IP`,
		"http:tcp:80:[1.1.1.1]:80":   `"[1.1.1.1]" is not a valid IP`,
	} {
		if p, err := ParsePodPort(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", s, p, err, want)
		}
	}
}

func FuzzParsePodPort(f *testing.F) {
	f.Add("http:tcp:80:0.0.0.0:8080")
	f.Add("dns:udp:53:[fe80::1]:5353")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePodPort(s)
		if err != nil {
			return
		}
		again, err := ParsePodPort(formatPodPort(p))
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("%q: %q, %v, %s", s, formatPodPort(p), err, diff)
		}
	})
}

func TestPairFlags(t *testing.T) {
	var pairs PairsFlag
	var annotations AnnotationsFlag
	for _, s := range []string{"b=2", "a=1=1", "c="} {
		if err := errors.Join(pairs.Set(s), annotations.Set(s)); err != nil {
			t.Error(err)
		}
	}
	if pairs.String() != "a=1=1,b=2,c=" || annotations.String() != "b=2,a=1=1,c=" {
		t.Error(pairs.String(), annotations.String())
	}
	for s, want := range map[string]string{"x": "must be specified as key=value", "a=3": `key "a" already set`} {
		for _, err := range []error{pairs.Set(s), annotations.Set(s)} {
			if err == nil || err.Error() != want {
				t.Errorf("%q: %v, want %s", s, err, want)
			}
		}
	}
	if err := annotations.Set("A b=x"); err == nil || !strings.Contains(err.Error(), `"A b" is not a valid name of an annotation`) {
		t.Error(err)
	}
}
