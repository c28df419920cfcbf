// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// thePassword is in the configuration of a host, and nowhere else.
const thePassword = "hunter2-correct-horse"

// secrets are all forms of it that could get out, and the token that it buys.
func secrets() []string {
	return []string{thePassword, base64.StdEncoding.EncodeToString([]byte("u:" + thePassword)), "Bearer good"}
}

// secretSource puts the password where rkt finds it, for one host, and returns what
// to add to the environment.
type secretSource struct {
	put   func(t *testing.T, h *harness.Host, dir string) []string
	image func(n *internet) string
	to    string // host that has to see it
}

func secretSources() map[string]secretSource {
	config := func(name, kind string) func(*testing.T, *harness.Host, string) []string {
		return func(t *testing.T, h *harness.Host, _ string) []string {
			file := filepath.Join(h.LocalConfig(), "auth.d", name)
			writeFile(t, file, kind)
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
			return nil
		}
	}
	auths := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, registryHost, base64.StdEncoding.EncodeToString([]byte("u:"+thePassword)))
	byURL := func(*internet) string { return "https://" + webHost + "/app.aci" }
	byRegistry := func(n *internet) string { return "docker://" + registryHost + "/app@" + n.manifest }
	return map[string]secretSource{
		"auth.d, basic": {config("a.json", fmt.Sprintf(
			`{"rktKind":"auth","rktVersion":"v1","domains":[%q],"type":"basic","credentials":{"user":"u","password":%q}}`, webHost, thePassword)), byURL, webHost},
		"auth.d, oauth": {config("a.json", fmt.Sprintf(
			`{"rktKind":"auth","rktVersion":"v1","domains":[%q],"type":"oauth","credentials":{"token":%q}}`, webHost, thePassword)), byURL, webHost},
		"auth.d, docker": {config("a.json", fmt.Sprintf(
			`{"rktKind":"dockerAuth","rktVersion":"v1","registries":[%q],"credentials":{"user":"u","password":%q}}`, registryHost, thePassword)), byRegistry, tokenHost},
		"docker": {func(t *testing.T, _ *harness.Host, dir string) []string {
			writeFile(t, filepath.Join(dir, ".docker", "config.json"), auths)
			return nil
		}, byRegistry, tokenHost},
		"containers": {func(t *testing.T, _ *harness.Host, dir string) []string {
			writeFile(t, filepath.Join(dir, ".config", "containers", "auth.json"), auths)
			return nil
		}, byRegistry, tokenHost},
		"REGISTRY_AUTH_FILE": {func(t *testing.T, _ *harness.Host, dir string) []string {
			writeFile(t, filepath.Join(dir, "x.json"), auths)
			return []string{"REGISTRY_AUTH_FILE=" + filepath.Join(dir, "x.json")}
		}, byRegistry, tokenHost},
		"helper": {func(t *testing.T, _ *harness.Host, dir string) []string {
			writeFile(t, filepath.Join(dir, ".docker", "config.json"), `{"credsStore":"test"}`)
			program := filepath.Join(dir, "docker-credential-test")
			writeFile(t, program, fmt.Sprintf("#!/bin/sh\nread s; tr '\\0' ' ' < /proc/$PPID/cmdline > %[1]s/argv; echo \"$@\" >> %[1]s/argv; echo %[2]s >&2\n"+
				`echo '{"ServerURL":"'$s'","Username":"u","Secret":"%[2]s"}'`+"\n", dir, thePassword))
			if err := os.Chmod(program, 0o755); err != nil {
				t.Fatal(err)
			}
			return []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		}, byRegistry, tokenHost},
	}
}

// TestCredentialsStay: a password is shown to the host it is for, over https, and
// to nobody else whatever that host answers; it is in no output and no argument.
func TestCredentialsStay(t *testing.T) {
	newHost(t) // needs root
	for name, source := range secretSources() {
		for where, target := range map[string]string{
			"another host": "https://other.example.com", "plain http": "http://" + webHost, "plain http, registry": "http://" + registryHost,
		} {
			t.Run(name+"/"+where, func(t *testing.T) {
				t.Parallel()
				checkSecret(t, source, target)
			})
		}
	}
}

func checkSecret(t *testing.T, source secretSource, target string) {
	t.Helper()
	n := newInternet(t)
	n.wantToken.Store(true)
	var mu sync.Mutex
	used := false
	look := func(req *http.Request, secure bool) {
		mu.Lock()
		defer mu.Unlock()
		_ = req.ParseForm()
		all := fmt.Sprint(req.URL, req.Header, req.Form)
		own := req.Host == source.to || source.to == tokenHost && req.Host == registryHost && strings.Contains(all, "Bearer good")
		for _, s := range secrets() {
			if !strings.Contains(all, s) {
				continue
			}
			used = used || req.Host == source.to
			if !secure || !own {
				t.Errorf("%s sees %s: %s", req.Host, s, all)
			}
		}
	}
	n.seen = func(req *http.Request) { look(req, true) }
	n.plain = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		look(req, false)
		http.NotFound(w, req)
	})
	n.fault.Store(&badPart{
		is: func(req *http.Request) bool {
			return req.URL.Path == "/app.aci" || strings.Contains(req.URL.Path, "/blobs/")
		},
		serve: func(w http.ResponseWriter, req *http.Request, _ *httptest.ResponseRecorder, _ int) {
			http.Redirect(w, req, target+req.URL.Path, http.StatusTemporaryRedirect)
		},
	})
	h := n.host(t)
	dir := t.TempDir()
	h.Env = append(h.Env, "HOME="+dir, "XDG_RUNTIME_DIR=", "DOCKER_CONFIG=", "REGISTRY_AUTH_FILE=")
	h.Env = append(h.Env, source.put(t, h, dir)...)
	h.Flags = []string{"--debug"}
	r := h.Run("fetch", source.image(n))
	if r.Status != 254 {
		t.Errorf("want a failure: %s", r)
	}
	if !used {
		t.Errorf("the password was not used at all: %s", r)
	}
	argv, _ := os.ReadFile(filepath.Join(dir, "argv"))
	for _, s := range secrets() {
		if strings.Contains(r.Stdout+r.Stderr+string(argv), s) {
			t.Errorf("%q is in what rkt or its helper says: %s\n%s", s, r, argv)
		}
	}
}
