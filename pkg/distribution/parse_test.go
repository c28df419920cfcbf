// SPDX-License-Identifier: Apache-2.0

package distribution_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/distribution"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParse(t *testing.T) {
	for _, tc := range []struct{ in, cimd, text string }{
		{"example.com/app01", "cimd:appc:v=0:example.com/app01", "example.com/app01"},
		{"example.com/app01:v1.0.0", "cimd:appc:v=0:example.com/app01?version=v1.0.0", "example.com/app01:v1.0.0"},
		{
			"example.com/app01:v1.0.0,label01=?&*/",
			"cimd:appc:v=0:example.com/app01?label01=%3F%26%2A%2F&version=v1.0.0",
			"example.com/app01:v1.0.0,label01=?&*/",
		},
		{"some-image-name:v1.0.0", "cimd:appc:v=0:some-image-name?version=v1.0.0", "some-image-name:v1.0.0"},
		{"name:2.0.0+git", "cimd:appc:v=0:name?version=2.0.0%2Bgit", "name:2.0.0+git"},
		{"1app:v1", "cimd:appc:v=0:1app?version=v1", "1app:v1"},
		{"my_app:v1", "cimd:appc:v=0:my_app?version=v1", "my_app:v1"},
		{"a,x=100%,b==", "cimd:appc:v=0:a?b=%3D&x=100%25", "a,b==,x=100%"},
		{"a:v,zz=1,arch=amd64,b=2,os=linux", "cimd:appc:v=0:a?arch=amd64&b=2&os=linux&version=v&zz=1", "a:v,os=linux,arch=amd64,b=2,zz=1"},
		{"cimd:appc:v=0:example.com%2Fapp01?version=v1", "cimd:appc:v=0:example.com/app01?version=v1", "example.com/app01:v1"},
		{"oci,version=v1", "cimd:appc:v=0:oci?version=v1", "oci,version=v1"},
		{"sha512-not-existed", "cimd:appc:v=0:sha512-not-existed", "sha512-not-existed"},

		{"/abs/file.aci", "cimd:aci-archive:v=0:file%3A%2F%2F%2Fabs%2Ffile.aci", "file:///abs/file.aci"},
		{"/abs/./x/../file.aci", "cimd:aci-archive:v=0:file%3A%2F%2F%2Fabs%2Ffile.aci", "file:///abs/file.aci"},
		{"file:///abs/file.aci", "cimd:aci-archive:v=0:file%3A%2F%2F%2Fabs%2Ffile.aci", "file:///abs/file.aci"},
		{"file:/abs/file.aci", "cimd:aci-archive:v=0:file%3A%2F%2F%2Fabs%2Ffile.aci", "file:///abs/file.aci"},
		{"/abs/a b?.aci", "cimd:aci-archive:v=0:file%3A%2F%2F%2Fabs%2Fa%2520b%253F.aci", "file:///abs/a%20b%3F.aci"},
		{"https://h/app.aci", "cimd:aci-archive:v=0:https%3A%2F%2Fh%2Fapp.aci", "https://h/app.aci"},
		{"https://h/app.aci?z=1", "cimd:aci-archive:v=0:https%3A%2F%2Fh%2Fapp.aci%3Fz%3D1", "cimd:aci-archive:v=0:https%3A%2F%2Fh%2Fapp.aci%3Fz%3D1"},

		{"docker:busybox", "cimd:docker:v=0:busybox", "busybox"},
		{"docker://busybox", "cimd:docker:v=0:busybox", "busybox"},
		{"docker://busybox:latest", "cimd:docker:v=0:busybox:latest", "busybox"},
		{"docker://registry-1.docker.io/library/busybox:1", "cimd:docker:v=0:registry-1.docker.io/library/busybox:1", "busybox:1"},
		{"docker:h.example.com:4000/busybox:1.0", "cimd:docker:v=0:h.example.com:4000/busybox:1.0", "h.example.com:4000/busybox:1.0"},
		{"docker://h:5000/a@" + someDigest, "cimd:docker:v=0:h:5000/a@" + someDigest, "h:5000/a@" + someDigest},

		{"oci:/dir", "cimd:oci-image-layout:v=0:file%3A%2F%2F%2Fdir", "oci:/dir"},
		{"oci:/dir:12", "cimd:oci-image-layout:v=0:file%3A%2F%2F%2Fdir?ref=12", "oci:/dir:12"},
		{"oci:/dir:docker.io/library/debian:12", "cimd:oci-image-layout:v=0:file%3A%2F%2F%2Fdir?ref=docker.io%2Flibrary%2Fdebian%3A12", "oci:/dir:docker.io/library/debian:12"},
		{"oci:/dir:12@" + someDigest, "cimd:oci-image-layout:v=0:file%3A%2F%2F%2Fdir?digest=sha256%3A" + someDigest[7:] + "&ref=12", "oci:/dir:12@" + someDigest},
		{"oci-archive:/f.tar.gz:12", "cimd:oci-archive:v=0:file%3A%2F%2F%2Ff.tar.gz?ref=12", "oci-archive:/f.tar.gz:12"},
		{"docker-archive:/f.tar", "cimd:docker-archive:v=0:file%3A%2F%2F%2Ff.tar", "docker-archive:/f.tar"},
		{"docker-archive:/f.tar:debian:12", "cimd:docker-archive:v=0:file%3A%2F%2F%2Ff.tar?ref=debian%3A12", "docker-archive:/f.tar:debian:12"},
		{"docker-archive:/f.tar:@3", "cimd:docker-archive:v=0:file%3A%2F%2F%2Ff.tar?ref=%403", "docker-archive:/f.tar:@3"},
	} {
		t.Run(tc.in, func(t *testing.T) {
			p, err := distribution.Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if p.CIMD() != tc.cimd || p.String() != tc.text {
				t.Errorf("got %s and %s\nwant %s and %s", p.CIMD(), p, tc.cimd, tc.text)
			}
			checkRoundTrip(t, p)
		})
	}
}

func checkRoundTrip(t *testing.T, p distribution.Point) {
	t.Helper()
	again, err := distribution.Parse(p.CIMD())
	if err != nil {
		t.Fatalf("%s does not parse: %v", p.CIMD(), err)
	}
	if !again.Equal(p) || !p.Equal(again) || again.CIMD() != p.CIMD() {
		t.Errorf("%#v became %#v", p, again)
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"/abs/file":                            `invalid image string "file:///abs/file"`,
		"/abs/file.tar":                        `invalid image string "file:///abs/file.tar"`,
		"https://h/app.tar":                    `invalid image string "https://h/app.tar"`,
		"file:rel.aci":                         `invalid image string "file:rel.aci"`,
		"file://host/f.aci":                    `invalid image string`,
		"http:///f.aci":                        `invalid image string`,
		"a:b:c":                                `malformed app string - colon may appear at most once`,
		"a,b=c:d":                              `malformed app string - colon may appear only right after the app name`,
		"a,b":                                  `invalid appc image string "a,b": malformed label "b"`,
		"a,":                                   `invalid appc image string "a,"`,
		"a,b=1,b=2":                            `duplicate labels of name "b"`,
		"a:1,version=2":                        `duplicate labels of name "version"`,
		"a,name=b":                             `invalid label name: "name"`,
		"A":                                    `ACIdentifier must contain only lower case`,
		"":                                     `ACIdentifier cannot be empty`,
		"docker://":                            `docker distribution creation error: `,
		"docker:Busybox":                       `expected syntax is "docker://[REGISTRY_HOST[:REGISTRY_PORT]/]IMAGE_NAME[:TAG]"`,
		"docker://h:x/busybox":                 `invalid registry host "h:x"`,
		"docker://" + someDigest[7:]:           `looks like an image ID`,
		"docker://a@sha256:12":                 `invalid digest`,
		"docker://a:":                          `invalid tag ""`,
		"docker://" + strings.Repeat("a", 256): `longer than 255`,
		"cimd:appc:v=0":                        `malformed distribution uri: "cimd:appc:v=0"`,
		"cimd:appc:0:a":                        `malformed distribution version: 0`,
		"cimd:appc:v=-1:a":                     `malformed distribution version: v=-1`,
		"cimd:appc:v=4294967296:a":             `malformed distribution version`,
		"cimd:appc:v=1:a":                      `unsupported version 1`,
		"cimd:what:v=0:a":                      `unknown distribution type: "what"`,
		"cimd:aci-archive:v=0:ftp%3A%2F%2Fh%2Fa.aci": `invalid image string`,
		"oci:":                `invalid image string "oci:"`,
		"oci:dir:":            `invalid image string "oci:dir:"`,
		"docker-archive:f:@x": `invalid image index`,
		"docker-archive:f:UP": `invalid image name component`,
	} {
		t.Run(in, func(t *testing.T) {
			p, err := distribution.Parse(in)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, %v; want error with %q", p, err, want)
			}
			if err != nil && p != nil {
				t.Errorf("got a point with the error: %#v", p)
			}
		})
	}
	if _, err := distribution.ParseCIMD("http://x"); err == nil || !strings.Contains(err.Error(), `unsupported scheme: "http"`) {
		t.Errorf("got %v", err)
	}
}

// The order of the tests that tell a path from a name.
func TestPathOrName(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"plain", "with:colon", "x.aci"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("directory", 0o755); err != nil {
		t.Fatal(err)
	}
	archive := func(name string) string {
		return distribution.ACIArchive{URL: "file://" + filepath.Join(dir, name)}.CIMD()
	}
	for in, want := range map[string]string{
		"x.aci":              archive("x.aci"),
		"missing.aci":        archive("missing.aci"),
		"some/../x/file.aci": archive("x/file.aci"),
		"./a.aci":            archive("a.aci"),
		"directory":          "cimd:appc:v=0:directory",
		"missing":            "cimd:appc:v=0:missing",
		"x.aci:v1":           "cimd:appc:v=0:x.aci?version=v1",
	} {
		p, err := distribution.Parse(in)
		if err != nil || p.CIMD() != want {
			t.Errorf("%s: got %v, %v; want %s", in, p, err, want)
		}
	}
	if _, err := distribution.Parse("plain"); err == nil {
		t.Error("an existing file without .aci was taken for a name")
	}
	p, err := distribution.Parse("oci:rel")
	if err != nil || p != (distribution.OCILayout{Path: filepath.Join(dir, "rel")}) {
		t.Errorf("got %#v, %v", p, err)
	}
}

func TestEqual(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"docker:busybox", "cimd:docker:v=0:registry-1.docker.io/library/busybox:latest", true},
		{"docker:docker.io/busybox", "docker:index.docker.io/library/busybox", true},
		{"docker:busybox:1", "docker:busybox:2", false},
		{"docker:localhost/busybox", "docker:busybox", false},
		{"docker:a:1@" + someDigest, "docker:a:2@" + someDigest, true},
		{"a:1,b=2,c=3", "a,c=3,version=1,b=2", true},
		{"a:1", "a", false},
		{"https://h/a.aci", "https://h/b.aci", false},
		{"oci:/a", "oci-archive:/a", false},
		{"oci:/a:b", "oci:/a:b", true},
	} {
		a, err := distribution.Parse(tc.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := distribution.Parse(tc.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.Equal(b) != tc.want || b.Equal(a) != tc.want {
			t.Errorf("%s and %s: want equal %v", tc.a, tc.b, tc.want)
		}
	}
}

func TestReferenceForms(t *testing.T) {
	for in, want := range map[string]string{
		"busybox":                       "registry-1.docker.io/library/busybox:latest",
		"busybox:1@" + someDigest:       "registry-1.docker.io/library/busybox@" + someDigest,
		"user/image":                    "registry-1.docker.io/user/image:latest",
		"localhost/a":                   "localhost/a:latest",
		"host/a":                        "registry-1.docker.io/host/a:latest",
		"127.0.0.1:5000/debian":         "127.0.0.1:5000/debian:latest",
		"[::1]:5000/a/b__c/d-_e":        "",
		"[::1]:5000/a/b__c/d--e:Tag_.-": "[::1]:5000/a/b__c/d--e:Tag_.-",
		"a//b":                          "",
		"a.":                            "",
		"host.x/":                       "",
	} {
		d, err := distribution.ParseReference(in)
		if want == "" {
			if err == nil {
				t.Errorf("%s: got %+v, want an error", in, d)
			}
			continue
		}
		if err != nil || d.Full() != want {
			t.Errorf("%s: got %s, %v; want %s", in, d.Full(), err, want)
		}
	}
}

func TestIsHash(t *testing.T) {
	for in, want := range map[string]bool{
		"sha512-a": true, "sha512-xyz": true, "sha512-": false, "sha512": false,
		"sha512-not-existed": false, "sha256-a": false, "": false,
	} {
		if distribution.IsHash(in) != want {
			t.Errorf("IsHash(%q): want %v", in, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"example.com/app01:v1.0.0,label01=?&*/", "/abs/file.aci", "https://h/app.aci?z=1", "docker://h:5000/a/b:c@" + someDigest,
		"oci:dir:ref@" + someDigest, "oci-archive:f:r", "docker-archive:f:@1", "cimd:appc:v=0:a%2fb?x=%2C", "cimd:docker-archive:v=0:file%3A%2F%2F%2Ff?ref=a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := distribution.Parse(s)
		if err != nil {
			return
		}
		checkRoundTrip(t, p)
		if a, ok := p.(distribution.Appc); ok {
			checkDisplay(t, a)
		}
	})
}

// checkDisplay: the short form of a name means the same, unless a label value
// has what only a cimd URI can write.
func checkDisplay(t *testing.T, a distribution.Appc) {
	t.Helper()
	for _, l := range a.Labels {
		if strings.ContainsAny(l.Value, ",:") {
			return
		}
	}
	again, err := distribution.ParseAppc(a.String())
	if err != nil || !again.Equal(a) {
		t.Errorf("%#v prints as %q, which is %#v, %v", a, a.String(), again, err)
	}
}
