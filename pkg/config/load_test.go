// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files ("auth.d/a.json": content) below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func basicAuth(domain, user string) string {
	return `{"rktKind":"auth","rktVersion":"v1","domains":["` + domain + `"],"type":"basic","credentials":{"user":"` + user + `","password":"p"}}`
}

func TestLoadMerges(t *testing.T) {
	system := tree(t, map[string]string{
		"auth.d/same.json":   basicAuth("a.com", "sys"),
		"auth.d/other.json":  basicAuth("b.com", "sys"),
		"paths.d/p.json":     `{"rktKind":"paths","rktVersion":"v1","data":"/sys","stage1-images":"/images"}`,
		"stage1.d/s.json":    `{"rktKind":"stage1","rktVersion":"v1","name":"n","version":"1","location":"/l"}`,
		"auth.d/ignored.txt": `{`,
		"auth.d/x.json/y":    `{`,
		"unrelated/z.json":   `{`,
	})
	local := tree(t, map[string]string{
		"auth.d/same.json":  basicAuth("a.com", "local"),
		"paths.d/q.json":    `{"RKTKIND":"paths","rktVersion":"v1","data":"/local","stage1-images":null}`,
		"stage1.d/one.json": `{"rktKind":"stage1","rktVersion":"v1","name":"m","version":"2"}`,
	})
	user := tree(t, map[string]string{
		"auth.d/d.json":   `{"rktKind":"dockerAuth","rktVersion":"v1","registries":["quay.io"],"credentials":{"user":"u","password":"p"}}`,
		"auth.d/aws.json": `{"rktKind":"auth","rktVersion":"v1","domains":["s3"],"type":"aws","credentials":{"accessKeyID":"k","secretAccessKey":"s"}}`,
		"auth.d/o.json":   `{"rktKind":"auth","rktVersion":"v1","domains":["o.com"],"type":"oauth","credentials":{"token":"t"}}`,
	})
	got, err := Load(Dirs{System: system, Local: local, User: user})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Auth: map[string]AuthEntry{
			"a.com": {Type: AuthBasic, Basic: Basic{User: "local", Password: "p"}},
			"b.com": {Type: AuthBasic, Basic: Basic{User: "sys", Password: "p"}},
			"s3":    {Type: AuthAWS, AWS: AWS{AccessKeyID: "k", SecretAccessKey: "s"}},
			"o.com": {Type: AuthOAuth, Token: "t"},
		},
		DockerAuth: map[string]Basic{"quay.io": {User: "u", Password: "p"}},
		Registries: map[string]Registry{},
		Paths:      Paths{Data: "/local", Stage1Images: "/images"},
		Stage1:     Stage1{Name: "m", Version: "2", Location: "/l"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadOnlyWantedKinds(t *testing.T) {
	dir := tree(t, map[string]string{
		"auth.d/broken.json": `{`,
		"paths.d/p.json":     `{"rktKind":"paths","rktVersion":"v1","data":"/d"}`,
	})
	c, err := Load(Dirs{Local: dir}, KindPaths)
	if err != nil || c.Paths.Data != "/d" {
		t.Errorf("Load(paths) = %+v, %v", c, err)
	}
}

func TestLoadErrors(t *testing.T) {
	paths := func(fields string) string { return `{"rktKind":"paths","rktVersion":"v1",` + fields + `}` }
	auth := func(fields string) string { return `{"rktKind":"auth","rktVersion":"v1",` + fields + `}` }
	docker := func(fields string) string { return `{"rktKind":"dockerAuth","rktVersion":"v1",` + fields + `}` }
	stage1 := func(fields string) string { return `{"rktKind":"stage1","rktVersion":"v1",` + fields + `}` }
	for _, tc := range []struct{ name, file, content, want string }{
		{"empty file", "auth.d/a.json", ``, `unexpected end of JSON input`},
		{"syntax", "auth.d/a.json", "{\n  x}", `a.json": line 2, column 3: invalid character 'x'`},
		{"after the object", "auth.d/a.json", `{} {}`, `after top-level value`},
		{"type", "paths.d/a.json", paths(`"data":5`), `cannot unmarshal number`},
		{"kind missing", "auth.d/a.json", `{}`, `no rktKind specified in "`},
		{"version missing", "auth.d/a.json", `{"rktKind":"x"}`, `no rktVersion specified in "`},
		{"version", "auth.d/a.json", `{"rktKind":"auth","rktVersion":"v2"}`, `no parser available for configuration of kind "auth" and version "v2"`},
		{"wrong directory", "paths.d/a.json", `{"rktKind":"auth","rktVersion":"v1"}`, `paths.d" expects to have configuration files of kinds "paths", but "a.json" has kind of "auth"`},
		{"unknown kind", "auth.d/a.json", `{"rktKind":"x","rktVersion":"v1"}`, `of kinds "auth", "dockerAuth", but "a.json" has kind of "x"`},
		{"no domains", "auth.d/a.json", auth(`"type":"basic"`), `no domains specified`},
		{"no type", "auth.d/a.json", auth(`"domains":["a"]`), `no auth type specified`},
		{"unknown type", "auth.d/a.json", auth(`"domains":["a"],"type":"x"`), `unknown auth type: "x"`},
		{"no credentials", "auth.d/a.json", auth(`"domains":["a"],"type":"basic"`), `unexpected end of JSON input`},
		{"no user", "auth.d/a.json", auth(`"domains":["a"],"type":"basic","credentials":{}`), `user not specified`},
		{"no password", "auth.d/a.json", auth(`"domains":["a"],"type":"basic","credentials":{"user":"u"}`), `password not specified`},
		{"no token", "auth.d/a.json", auth(`"domains":["a"],"type":"oauth","credentials":{}`), `no oauth bearer token specified`},
		{"no key", "auth.d/a.json", auth(`"domains":["a"],"type":"aws","credentials":{}`), `no AWS Access Key ID specified`},
		{"no secret", "auth.d/a.json", auth(`"domains":["a"],"type":"aws","credentials":{"accessKeyID":"k"}`), `no AWS Secret Access Key specified`},
		{"domain twice", "auth.d/a.json", auth(`"domains":["a","a"],"type":"oauth","credentials":{"token":"t"}`), `auth for domain "a" is already specified`},
		{"no registries", "auth.d/a.json", docker(`"credentials":{}`), `no registries specified`},
		{"registry password", "auth.d/a.json", docker(`"registries":["r"],"credentials":{"user":"u"}`), `password not specified`},
		{"registry twice", "auth.d/a.json", docker(`"registries":["r","r"],"credentials":{"user":"u","password":"p"}`), `credentials for docker registry "r" are already specified`},
		{"relative data", "paths.d/a.json", paths(`"data":"x"`), `data directory must be an absolute path`},
		{"relative images", "paths.d/a.json", paths(`"stage1-images":"x"`), `stage1 images directory must be an absolute path`},
		{"name only", "stage1.d/a.json", stage1(`"name":"n"`), `invalid stage1 configuration: default stage1 image name specified, but version is missing`},
		{"version only", "stage1.d/a.json", stage1(`"version":"1"`), `default stage1 image version specified, but name is missing`},
		{"relative location", "stage1.d/a.json", stage1(`"location":"x"`), `default stage1 image location is either a relative path or a URL without scheme`},
		{"bad URL", "stage1.d/a.json", stage1(`"location":"http://[::1"`), `default stage1 image location is an invalid URL: `},
		{"bad scheme", "stage1.d/a.json", stage1(`"location":"ftp://x/y"`), `default stage1 image location URL has invalid scheme "ftp", allowed schemes are "docker, file, http, https"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := tree(t, map[string]string{tc.file: tc.content})
			_, err := Load(Dirs{System: dir})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v\nwant %s", err, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), "a.json") {
				t.Errorf("error does not name the file: %v", err)
			}
		})
	}
}

func TestLoadDuplicatesInOneLevel(t *testing.T) {
	for _, tc := range []struct{ dir, a, b, want string }{
		{"auth.d", basicAuth("d", "u"), basicAuth("d", "u"), `auth for domain "d" is already specified`},
		{"paths.d", `{"rktKind":"paths","rktVersion":"v1","data":"/a"}`, `{"rktKind":"paths","rktVersion":"v1","data":"b"}`, `data directory is already specified`},
		{"stage1.d", `{"rktKind":"stage1","rktVersion":"v1","location":"/a"}`, `{"rktKind":"stage1","rktVersion":"v1","location":"/a"}`, `location of a default stage1 image is already specified`},
		{"stage1.d", `{"rktKind":"stage1","rktVersion":"v1","name":"a","version":"1"}`, `{"rktKind":"stage1","rktVersion":"v1","name":"a","version":"1"}`, `name and version of a default stage1 image are already specified`},
	} {
		dir := tree(t, map[string]string{tc.dir + "/a.json": tc.a, tc.dir + "/b.json": tc.b})
		_, err := Load(Dirs{System: dir})
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "b.json") {
			t.Errorf("error %v\nwant %s", err, tc.want)
		}
	}
}

func TestLoadReportsEveryBrokenFile(t *testing.T) {
	dir := tree(t, map[string]string{"auth.d/a.json": `{`, "auth.d/b.json": `{}`, "paths.d/c.json": `[]`})
	_, err := Load(Dirs{System: dir})
	for _, name := range []string{"a.json", "b.json", "c.json"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
}

func TestLoadNotADirectory(t *testing.T) {
	dir := tree(t, map[string]string{"auth.d": "", "x": ""})
	for _, d := range []string{dir, filepath.Join(dir, "x")} {
		_, err := Load(Dirs{Local: d})
		if err == nil || !strings.Contains(err.Error(), `to be a directory`) {
			t.Errorf("Load(%s) error %v", d, err)
		}
	}
	if _, err := Load(Dirs{Local: filepath.Join(dir, "missing")}); err != nil {
		t.Errorf("missing directory: %v", err)
	}
}

func TestLoadFollowsLinksToFiles(t *testing.T) {
	elsewhere := tree(t, map[string]string{"a": basicAuth("a.com", "u"), "d/b.json": "{"})
	dir := tree(t, map[string]string{"auth.d/real.json": basicAuth("b.com", "u")})
	for name, target := range map[string]string{"a.json": "a", "d.json": "d", "gone.json": "gone"} {
		if err := os.Symlink(filepath.Join(elsewhere, target), filepath.Join(dir, "auth.d", name)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(Dirs{Local: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Auth["a.com"]; !ok || len(c.Auth) != 2 {
		t.Errorf("auth = %v", c.Auth)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "gone.json") {
		t.Errorf("warnings = %q", c.Warnings)
	}
}

func TestLoadRefusesUnknownFields(t *testing.T) {
	for _, tc := range []struct{ file, content, want string }{
		{"auth.d/a.json", `{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"oauth","credentials":{"token":"t"},"Typo":2}`, `unknown field "Typo"`},
		{"auth.d/a.json", `{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"oauth","credentials":{"token":"t","extra":1,"more":2}}`, `unknown fields "credentials.extra", "credentials.more"`},
		{"auth.d/a.json", `{"rktKind":"dockerAuth","rktVersion":"v1","registries":["a"],"registry":"b","credentials":{"user":"u","password":"p"}}`, `unknown field "registry"`},
		{"paths.d/a.json", `{"rktKind":"paths","rktVersion":"v1","stage1_images":"/a"}`, `unknown field "stage1_images"`},
		{"stage1.d/a.json", `{"rktKind":"stage1","rktVersion":"v1","path":"/a"}`, `unknown field "path"`},
		{"registries.d/a.json", `{"rktKind":"registry","rktVersion":"v1","prefix":"a.b","mirrors":[{"location":"c.d"},{"url":"c.d"}]}`, `unknown field "mirrors[1].url"`},
	} {
		_, err := Load(Dirs{Local: tree(t, map[string]string{tc.file: tc.content})})
		if err == nil || !strings.Contains(err.Error(), "a.json\": "+tc.want) {
			t.Errorf("error %v\nwant %s", err, tc.want)
		}
	}
}

func TestLoadWarnsOfReadableSecrets(t *testing.T) {
	dir := tree(t, map[string]string{"auth.d/a.json": basicAuth("a", "u")})
	if err := os.Chmod(filepath.Join(dir, "auth.d/a.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Dirs{Local: dir})
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "readable by everybody") {
		t.Errorf("warnings %q, %v", c.Warnings, err)
	}
}
