// SPDX-License-Identifier: Apache-2.0

package trustpolicy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newPEM(t testing.TB) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestScope(t *testing.T) {
	for _, tt := range []struct {
		scope, host, repository string
		want                    bool
	}{
		{"*", "a.example", "x", true},
		{"docker://a.example", "a.example", "x", true},
		{"docker://a.example", "A.example:443", "x", true},
		{"docker://a.example", "a.example:5000", "x", false},
		{"docker://a.example", "a.example.com", "x", false},
		{"docker://a.example/app", "a.example", "app", true},
		{"docker://a.example/app", "a.example", "app/web", true},
		{"docker://a.example/app", "a.example", "apple", false},
		{"docker://a.example/app/web", "a.example", "app", false},
		{"docker://docker.io/library", "registry-1.docker.io", "library/busybox", true},
		{"docker://index.docker.io/library/busybox", "registry-1.docker.io", "library/busybox", true},
		{"docker://localhost:5000/app", "localhost:5000", "app", true},
		{"a.example/app", "a.example", "app", false},
	} {
		s, err := ParseScope(tt.scope)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.coversDocker(tt.host, tt.repository); got != tt.want {
			t.Errorf("%q covers %s/%s: %v", tt.scope, tt.host, tt.repository, got)
		}
	}
	for _, bad := range []string{"", "docker://", "docker://busybox", "docker://a.example/", "docker://a.example/x:1", "docker://a.example/X", "docker://a.example/../x", "http://a.example/x"} {
		if s, err := ParseScope(bad); err == nil {
			t.Errorf("accepted %q as %q", bad, s)
		}
	}
}

func TestKeys(t *testing.T) {
	s := &Store{SystemDir: t.TempDir(), LocalDir: filepath.Join(t.TempDir(), "rkt")}
	scope, err := ParseScope("docker://a.example/app")
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseScope("docker://a.example")
	if err != nil {
		t.Fatal(err)
	}
	text := newPEM(t)
	path, key, err := s.AddKey(scope, text)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddKey(other, text); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
	rules, err := s.Load()
	if err != nil || len(rules.ForDocker("a.example", "app/x")) != 2 || len(rules.ForDocker("a.example", "apple")) != 1 {
		t.Errorf("%v, %v", rules, err)
	}
	if r, err := s.RemoveKey(key.ID(), &scope); err != nil || len(r) != 1 || r[0].Masked {
		t.Errorf("%v, %v", r, err)
	}
	// The system's is masked.
	if err := os.Mkdir(filepath.Join(s.SystemDir, policyDir), 0o755); err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(s.LocalDir, policyDir, keyFileName(other, key.ID()))
	if err := os.Rename(local, filepath.Join(s.SystemDir, policyDir, filepath.Base(local))); err != nil {
		t.Fatal(err)
	}
	if infos, err := s.Keys(); err != nil || len(infos) != 1 || infos[0].Level != System {
		t.Errorf("%v, %v", infos, err)
	}
	if r, err := s.RemoveKey(key.ID(), nil); err != nil || len(r) != 1 || !r[0].Masked {
		t.Errorf("%v, %v", r, err)
	}
	if rules, err := s.Load(); err != nil || len(rules) != 0 {
		t.Errorf("%v, %v", rules, err)
	}
}

func TestParse(t *testing.T) {
	whole := func(rule string) string { return `{"rktKind":"trustPolicy","rktVersion":"v1","rules":[` + rule + `]}` }
	for _, good := range []string{
		whole(""), whole(`{"scope":"*","requirement":"reject"}`), whole(`{"scope":"example.com/app","requirement":"pgp"}`),
		whole(`{"scope":"docker://a.example","requirement":"insecureAcceptAnything"}`),
		whole(`{"scope":"docker://a.example","requirement":"digest","digests":["sha256:` + strings.Repeat("0", 64) + `"]}`),
	} {
		if _, err := parse("f", []byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "{}", whole("") + "x", strings.Replace(whole(""), "v1", "v2", 1), strings.Replace(whole(""), "trustPolicy", "auth", 1),
		whole(`{"scope":"*"}`), whole(`{"requirement":"reject"}`), whole(`{"scope":"*","requirement":"Reject"}`),
		whole(`{"scope":"*","requirement":"reject","kye":"x"}`), whole(`{"scope":"*","requirement":"reject","key":"x"}`),
		whole(`{"scope":"docker://a.example","requirement":"sigstore"}`), whole(`{"scope":"docker://a.example","requirement":"sigstore","key":"x"}`),
		whole(`{"scope":"docker://a.example","requirement":"sigstore","keyFile":"x"}`),
		whole(`{"scope":"docker://a.example","requirement":"digest","digests":["sha256:0"]}`),
		whole(`{"scope":"example.com/app","requirement":"insecureAcceptAnything"}`),
	} {
		if _, err := parse("f", []byte(bad)); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}

func TestPinned(t *testing.T) {
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	list, reference := Rule{Digests: []string{a}}, Rule{}
	if !list.Pinned("", b, a) || list.Pinned(b, b) || list.Pinned("", "") || !reference.Pinned(a, a, b) || reference.Pinned("", a) || reference.Pinned(a, b) {
		t.Error("pinned")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"rktKind":"trustPolicy","rktVersion":"v1","rules":[{"scope":"docker://a.example/x","requirement":"reject"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := parse("f", data)
		if err != nil {
			return
		}
		for _, r := range rules {
			again, err := ParseScope(r.Scope.String())
			if err != nil || again != r.Scope {
				t.Fatalf("%q: %q, %v", r.Scope, again, err)
			}
		}
	})
}
