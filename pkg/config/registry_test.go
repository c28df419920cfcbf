// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func registry(prefix, rest string) string {
	return `{"rktKind":"registry","rktVersion":"v1","prefix":"` + prefix + `"` + rest + `}`
}

func TestEndpoints(t *testing.T) {
	system := tree(t, map[string]string{
		"registries.d/a.json": registry("docker.io", `,"mirrors":[{"location":"gone.example.com"}]`),
		"registries.d/b.json": registry("quay.io", `,"location":"q.example.com:5000/mirror"`),
	})
	local := tree(t, map[string]string{
		"registries.d/hub.json": registry("docker.io", `,"mirrors":[{"location":"m.example.com/hub","insecure":true},
			{"location":"d.example.com","pullFromMirror":"digest-only"},{"location":"t.example.com","pullFromMirror":"tag-only"}]`),
		"registries.d/one.json":  registry("docker.io/library/busybox", `,"location":"localhost:5000/bb","insecure":true`),
		"registries.d/evil.json": registry("*.evil.com", `,"blocked":true`),
		"registries.d/good.json": registry("good.evil.com", ``),
	})
	c, err := Load(Dirs{System: system, Local: local})
	if err != nil {
		t.Fatal(err)
	}
	hub := "registry-1.docker.io"
	for _, tc := range []struct {
		host, repo string
		byDigest   bool
		want       []Endpoint
	}{
		{hub, "library/debian", false, []Endpoint{
			{"m.example.com", "hub/library/debian", true, true}, {"t.example.com", "library/debian", false, true}, {hub, "library/debian", false, false},
		}},
		{"docker.io", "a/b", true, []Endpoint{
			{"m.example.com", "hub/a/b", true, true}, {"d.example.com", "a/b", false, true}, {"docker.io", "a/b", false, false},
		}},
		{hub, "library/busybox", false, []Endpoint{{"localhost:5000", "bb", true, false}}},
		{hub, "library/busybox2", true, []Endpoint{
			{"m.example.com", "hub/library/busybox2", true, true}, {"d.example.com", "library/busybox2", false, true}, {hub, "library/busybox2", false, false},
		}},
		{"quay.io", "a", false, []Endpoint{{"q.example.com:5000", "mirror/a", false, false}}},
		{"quay.io:443", "a", false, []Endpoint{{"quay.io:443", "a", false, false}}},
		{"good.evil.com", "a", false, []Endpoint{{"good.evil.com", "a", false, false}}},
		{"other.com", "a", false, []Endpoint{{"other.com", "a", false, false}}},
	} {
		got, err := c.Endpoints(tc.host, tc.repo, tc.byDigest)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s/%s: %s", tc.host, tc.repo, diff)
		}
	}
	_, err = c.Endpoints("a.evil.com", "x", false)
	var blocked *BlockedError
	if !errors.As(err, &blocked) || blocked.Prefix != "*.evil.com" {
		t.Errorf("blocked registry: %v", err)
	}
}

func TestRegistryFaults(t *testing.T) {
	for content, want := range map[string]string{
		registry("", ""):                                   "no prefix specified",
		registry("https://a.b", ""):                        `invalid prefix: "https://a.b" is not HOST[:PORT][/PATH]`,
		registry("library", ""):                            `invalid prefix: "library" is not`,
		registry("*.a.b/c", ""):                            "has a path behind a wildcard",
		registry("a.b/../c", ""):                           "invalid prefix",
		registry("a.b", `,"location":"c.d/"`):              "invalid location",
		registry("a.b", `,"mirrors":[{}]`):                 "no location of mirror 1 specified",
		registry("a.b", `,"mirrors":[{"location":"x y"}]`): "invalid location of mirror 1",
		registry("a.b", `,"mirrors":[{"location":"c.d","pullFromMirror":"never"}]`): `unknown pullFromMirror of mirror 1: "never"`,
		registry("a.b", `,"blocked":"yes"`):                                         "cannot unmarshal string",
	} {
		_, err := Load(Dirs{User: tree(t, map[string]string{"registries.d/r.json": content})})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "r.json") {
			t.Errorf("%s: error %v, want %s", content, err, want)
		}
	}
	_, err := Load(Dirs{User: tree(t, map[string]string{"registries.d/a.json": registry("a.b", ""), "registries.d/b.json": registry("a.b", "")})})
	if err == nil || !strings.Contains(err.Error(), `registry with prefix "a.b" is already specified`) {
		t.Errorf("twice: %v", err)
	}
}

func TestSecretFiles(t *testing.T) {
	secrets := tree(t, map[string]string{"p": "pa ss\n", "empty": "\n", "large": strings.Repeat("x", maxSecret+1)})
	file := func(name string) string { return filepath.Join(secrets, name) }
	auth := func(kind, credentials string) string {
		return `{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"` + kind + `","credentials":{` + credentials + `}}`
	}
	for _, content := range []string{
		auth("basic", `"user":"u","passwordFile":"`+file("p")+`"`),
		auth("oauth", `"tokenFile":"`+file("p")+`"`),
		auth("aws", `"accessKeyID":"u","secretAccessKeyFile":"`+file("p")+`"`),
		`{"rktKind":"dockerAuth","rktVersion":"v1","registries":["a"],"credentials":{"user":"u","passwordFile":"` + file("p") + `"}}`,
	} {
		c, err := Load(Dirs{Local: tree(t, map[string]string{"auth.d/a.json": content})})
		if err != nil {
			t.Fatal(err)
		}
		e := c.Auth["a"]
		if got := e.Basic.Password + e.Token + e.AWS.SecretAccessKey + c.DockerAuth["a"].Password; got != "pa ss" {
			t.Errorf("%s: secret %q", content, got)
		}
		out, err := c.Print(false, false)
		if err != nil || strings.Contains(string(out), "pa ss") || !strings.Contains(string(out), file("p")) {
			t.Errorf("printed %s, %v", out, err)
		}
		again, err := Load(Dirs{Local: writeElements(t, out)})
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	for credentials, want := range map[string]string{
		`"user":"u","password":"p","passwordFile":"/p"`:       "both password and passwordFile specified",
		`"user":"u","passwordFile":"p"`:                       "passwordFile must be an absolute path",
		`"user":"u","passwordFile":"` + file("gone") + `"`:    "no such file",
		`"user":"u","passwordFile":"` + file("empty") + `"`:   "is empty",
		`"user":"u","passwordFile":"` + file("large") + `"`:   "has more than",
		`"user":"u","passwordFile":"` + secrets + `"`:         "not a regular file",
		`"passwordFile":"` + file("p") + `"`:                  "user not specified",
		`"user":"u","passwordfile":"/dev/null","password":""`: "not a regular file",
	} {
		_, err := Load(Dirs{Local: tree(t, map[string]string{"auth.d/a.json": auth("basic", credentials)})})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "a.json") {
			t.Errorf("%s: error %v, want %s", credentials, err, want)
		}
	}
}
