// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func TestParseVolume(t *testing.T) {
	for in, want := range map[string]Volume{
		"v,kind=host,source=/a%20b=c&d":            {Name: "v", Kind: "host", Source: "/a%20b=c&d"},
		"v,kind=host,source=/a/,readOnly=true":     {Name: "v", Kind: "host", Source: "/a/", ReadOnly: ptr(true)},
		"v,source=/a,recursive=false,kind=host":    {Name: "v", Kind: "host", Source: "/a", Recursive: ptr(false)},
		"v,kind=empty":                             {Name: "v", Kind: "empty", Mode: ptr("0755"), UID: ptr(0), GID: ptr(0)},
		"v,kind=empty,mode=1777,uid=1,gid=2":       {Name: "v", Kind: "empty", Mode: ptr("1777"), UID: ptr(1), GID: ptr(2)},
		"v,kind=empty,recursive=true,readOnly=1":   {Name: "v", Kind: "empty", ReadOnly: ptr(true), Recursive: ptr(true), Mode: ptr("0755"), UID: ptr(0), GID: ptr(0)},
		"a--b,kind=host,source=/with\\back:colon ": {Name: "a--b", Kind: "host", Source: "/with\\back:colon "},
	} {
		got, err := ParseVolume(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
}

func TestParseVolumeFaults(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "name must be set",
		",kind=empty":                           "name must be set",
		"V,kind=empty":                          `ACName must contain only lower case alphanumeric characters plus "-"`,
		"v":                                     `unrecognized volume kind: should be one of "empty", "host"`,
		"v,kind=nfs":                            `unrecognized volume kind: should be one of "empty", "host"`,
		"v,kind=host":                           "source for host volume cannot be empty",
		"v,kind=host,source=a":                  "source for host volume must be absolute path",
		"v,kind=empty,source=/a":                "source for empty volume must be empty",
		"v,kind=host,source=/a,mode=0755":       "mode for host volume cannot be set",
		"v,kind=host,source=/a,uid=0":           "uid for host volume cannot be set",
		"v,kind=host,source=/a,gid=0":           "gid for host volume cannot be set",
		"v,kind=empty,x=y":                      `unknown volume parameter "x"`,
		"v,kind=empty,kind=host":                `label kind with multiple values ["empty" "host"]`,
		"v,name=w,kind=empty":                   `label name with multiple values ["v" "w"]`,
		"v,kind=empty,mode=999":                 `volume mode "999" is not an octal number up to 07777`,
		"v,kind=empty,mode=17777":               `volume mode "17777" is not an octal number up to 07777`,
		"v,kind=empty,uid=root":                 `volume parameter "uid": strconv.Atoi: parsing "root": invalid syntax`,
		"v,kind=empty,uid=-1":                   "ID -1 is out of range",
		"v,kind=host,source=/a,readOnly=maybe":  `volume parameter "readOnly": strconv.ParseBool: parsing "maybe": invalid syntax`,
		"v,kind=host,source=/a,readOnly":        `volume parameter "readOnly" has no value`,
		"v,kind=host,source=/a,":                `volume parameter "" has no value`,
		"v,kind=host,source=/a\x00b":            `"/a\x00b" contains a NUL character`,
		"kind=host,source=/a":                   `ACName must contain only lower case alphanumeric characters plus "-"`,
		"v,kind=host,source=/a,source=/a":       `label source with multiple values ["/a" "/a"]`,
		"v,kind=host,source=/a,readonly=true":   `unknown volume parameter "readonly"`,
		"v,kind=empty,uid=99999999999999999999": `volume parameter "uid": strconv.Atoi: parsing "99999999999999999999": value out of range`,
	} {
		if _, err := ParseVolume(in); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
}

func TestVolumePerm(t *testing.T) {
	for mode, want := range map[string]fs.FileMode{
		"0755": 0o755, "7": 0o7, "1777": fs.ModeSticky | 0o777, "6755": fs.ModeSetuid | fs.ModeSetgid | 0o755,
	} {
		if got, err := (Volume{Mode: &mode}).Perm(); err != nil || got != want {
			t.Errorf("%s: %v, %v", mode, got, err)
		}
	}
	if got, err := (Volume{}).Perm(); err != nil || got != 0o755 {
		t.Errorf("default: %v, %v", got, err)
	}
}

func TestParseMount(t *testing.T) {
	for in, want := range map[string]Mount{
		"volume=v,target=/a":             {Volume: "v", Path: "/a"},
		"target=../a,volume=v":           {Volume: "v", Path: "../a"},
		"volume=v,target=/a%2Cb+c%3D%25": {Volume: "v", Path: "/a,b c=%"},
		"%76olume=v,target=/":            {Volume: "v", Path: "/"},
	} {
		got, err := ParseMount(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
	for in, want := range map[string]string{
		"":                          `mount parameter "" has no value`,
		"volume=v":                  "target must be set",
		"target=/":                  "volume must be set",
		"volume=v,target=":          "target must be set",
		"volume=v,target=/,x=y":     `unknown mount parameter "x"`,
		"volume=v,volume=w":         `label volume with multiple values ["v" "w"]`,
		"volume=v,target=%zz":       `mount parameter "target=%zz": invalid URL escape "%zz"`,
		"volume=v,target=/%00":      `"/\x00" contains a NUL character`,
		"volume=V_,target=/":        `ACName must contain only lower case alphanumeric characters plus "-"`,
		"volume=v,target=/,target=": `label target with multiple values ["/" ""]`,
	} {
		if _, err := ParseMount(in); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
}

// A volume that parses is valid in a manifest and has one representation.
func FuzzVolume(f *testing.F) {
	f.Add("v,kind=host,source=/a,readOnly=true")
	f.Add("v,kind=empty,mode=1777,uid=1,gid=2")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVolume(s)
		if err != nil {
			return
		}
		if err := v.validate(); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if v.Source != "" && !strings.Contains(s, "source="+v.Source) {
			t.Fatalf("%q: source %q is not literal", s, v.Source)
		}
		if v.Kind == EmptyVolume && (v.Mode == nil || v.UID == nil || v.GID == nil) {
			t.Fatalf("%q: defaults are missing", s)
		}
	})
}

// A mount that parses is valid in a manifest.
func FuzzMount(f *testing.F) {
	f.Add("volume=v,target=/a")
	f.Add("target=%2f,volume=v")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMount(s)
		if err != nil {
			return
		}
		if err := m.validate(); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
