// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() *Config {
	return &Config{
		Auth: map[string]AuthEntry{
			"b.com":     {Type: AuthOAuth, Token: "tok"},
			"a.com":     {Type: AuthBasic, Basic: Basic{User: "u", Password: "pass"}},
			"s3":        {Type: AuthAWS, AWS: AWS{AccessKeyID: "k", SecretAccessKey: "sec"}},
			"*.wild.io": {Type: AuthOAuth, Token: "w"},
		},
		DockerAuth: map[string]Basic{"quay.io": {User: "u", Password: "pass"}, "index.docker.io": {User: "hub", Password: "p"}},
		Registries: map[string]Registry{
			"docker.io":  {Mirrors: []Mirror{{"m.example.com/hub", true, PullAll}, {"n.example.com", false, PullDigest}}},
			"*.evil.com": {Blocked: true},
		},
		Paths: Paths{Data: "/d"},
	}
}

func TestPrint(t *testing.T) {
	got, err := (&Config{Auth: map[string]AuthEntry{"a.com": {Type: AuthBasic, Basic: Basic{User: "u", Password: "p"}}}}).Print(false, false)
	want := `{"stage0":[{"rktVersion":"v1","rktKind":"auth","domains":["a.com"],"type":"basic","credentials":{"user":"u","password":"p"}},` +
		`{"rktVersion":"v1","rktKind":"paths","data":"","stage1-images":""},` +
		`{"rktVersion":"v1","rktKind":"stage1","name":"","version":"","location":""}]}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestPrintRedacts(t *testing.T) {
	got, err := sample().Print(true, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pass", "tok\"", "sec\"", `"w"`} {
		if strings.Contains(strings.ReplaceAll(string(got), `"password"`, ""), secret) {
			t.Errorf("%s is in\n%s", secret, got)
		}
	}
}

// Each element of the output is itself a configuration file.
func TestPrintRoundTrip(t *testing.T) {
	want := sample()
	out, err := want.Print(true, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(Dirs{Local: writeElements(t, out)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func writeElements(t testing.TB, out []byte) string {
	t.Helper()
	var doc struct{ Stage0 []json.RawMessage }
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{"auth": "auth.d", "dockerAuth": "auth.d", "paths": "paths.d", "stage1": "stage1.d", "registry": "registries.d"}
	root := t.TempDir()
	for i, element := range doc.Stage0 {
		var h header
		if err := json.Unmarshal(element, &h); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, dirs[h.Kind])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".json"), element, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAuthFor(t *testing.T) {
	c := sample()
	for _, tc := range []struct {
		url  string
		want bool
	}{
		{"https://a.com/x.aci", true},
		{"https://a.com:443/x.aci", true},
		{"https://a.com:8443/x.aci", false},
		{"http://a.com/x.aci", false},
		{"https://www.a.com/", false},
		{"https://x.wild.io/", true},
		{"https://x.y.wild.io/", true},
		{"https://wild.io/", false},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.AuthFor(u); ok != tc.want {
			t.Errorf("AuthFor(%s) = %v", tc.url, ok)
		}
	}
}

func TestDockerAuthFor(t *testing.T) {
	c := sample()
	for registry, want := range map[string]string{"quay.io": "u", "": "hub", "registry-1.docker.io": "hub", "docker.io": "hub", "example.com": ""} {
		if b, _ := c.DockerAuthFor(registry); b.User != want {
			t.Errorf("DockerAuthFor(%q) = %+v, want user %q", registry, b, want)
		}
	}
}

// Whatever loads prints elements that load to the same.
func FuzzConfig(f *testing.F) {
	f.Add("auth.d", []byte(basicAuth("a.com", "u")))
	f.Add("auth.d", []byte(`{"rktKind":"dockerAuth","rktVersion":"v1","registries":["r"],"credentials":{"user":"u","password":"p"}}`))
	f.Add("paths.d", []byte(`{"rktKind":"paths","rktVersion":"v1","data":"/a","stage1-images":"/b"}`))
	f.Add("stage1.d", []byte(`{"rktKind":"stage1","rktVersion":"v1","name":"n","version":"v","location":"docker://x"}`))
	f.Add("auth.d", []byte(`{"rktKind":"auth","rktVersion":"v1","domains":["*.a.com","b:8443"],"type":"oauth","credentials":{"token":"t"}}`))
	f.Add("auth.d", []byte(`{"rktKind":"auth","rktVersion":"v1","domains":["s3"],"type":"aws","credentials":{"accessKeyID":"k","secretAccessKey":"s","awsRegion":"r"}}`))
	f.Add("auth.d", []byte(`{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"basic","credentials":{"user":"u","passwordFile":"/dev/null"}}`))
	f.Add("registries.d", []byte(`{"rktKind":"registry","rktVersion":"v1","prefix":"docker.io","mirrors":[{"location":"m.example.com/hub","pullFromMirror":"digest-only"}]}`))
	f.Add("registries.d", []byte(`{"rktKind":"registry","rktVersion":"v1","prefix":"*.example.com","location":"[::1]:5000/a","blocked":true,"insecure":true}`))
	f.Add("registries.d", []byte(`{"rktKind":"registry","rktVersion":"v1","prefix":"a.b","mirrors":[{"locations":""}]}`))
	f.Fuzz(func(t *testing.T, dir string, data []byte) {
		switch dir {
		case "auth.d", "paths.d", "stage1.d", "registries.d":
		default:
			t.Skip()
		}
		c, err := Load(Dirs{Local: tree(t, map[string]string{dir + "/a.json": string(data)})})
		if err != nil {
			return
		}
		out, err := c.Print(true, false)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(Dirs{Local: writeElements(t, out)})
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		c.Warnings, again.Warnings = nil, nil
		if diff := cmp.Diff(c, again); diff != "" {
			t.Error(diff)
		}
	})
}
