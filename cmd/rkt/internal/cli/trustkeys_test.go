// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/rkt/rkt/v2/pkg/keystore"
)

// reviewer is a keyTruster on a terminal at which somebody typed in.
func reviewer(t *testing.T, typed io.Reader) (*keyTruster, string, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	made := time.Now().Add(-time.Hour)
	e, err := openpgp.NewEntity("alice", "", "alice@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made },
	})
	if err != nil {
		t.Fatal(err)
	}
	var public, out, stderr bytes.Buffer
	if err := e.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, public.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &Deps{Stdout: &out, Stderr: &stderr, Now: time.Now}
	d.Global.LocalConfig = t.TempDir()
	kt := d.keyTruster()
	kt.stdin, kt.terminal = typed, true
	return kt, path, &out, &stderr
}

func TestReview(t *testing.T) {
	const ask = "Are you sure you want to trust this key (yes/no)?\n"
	const again = "Please enter 'yes' or 'no'\n"
	for _, tt := range []struct {
		typed   string
		trusted bool
		dialog  string
		stderr  string
		err     string
	}{
		{"yes\n", true, ask + "Trusting", "", ""},
		{"no\n", false, ask, "pubkey: not trusting ", ""},
		{"y\nYES\n\nyes\n", true, ask + again + again + again + "Trusting", "", ""},
		{"maybe\n", false, ask + again, "", "unexpected EOF"},
		{"", false, ask, "", "error reviewing key: unexpected EOF"},
	} {
		t.Run(tt.typed, func(t *testing.T) {
			kt, path, out, stderr := reviewer(t, strings.NewReader(tt.typed))
			err := kt.trust(t.Context(), "example.com", []string{path})
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if !strings.Contains(out.String(), "\n"+tt.dialog) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("stdout %q\nstderr %q", out, stderr)
			}
			ring, err := kt.store.Keyring("example.com/app")
			if err != nil || ring.Len() == 1 != tt.trusted {
				t.Errorf("%d keys, %v", ring.Len(), err)
			}
		})
	}
}

// A signal ends the wait for an answer.
func TestReviewCancelled(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	kt, path, _, _ := reviewer(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := kt.trust(ctx, keystore.Root, []string{path}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type fakeFinder struct {
	urls []*url.URL
	err  error
}

func (f fakeFinder) Keys(context.Context, string) ([]*url.URL, error) { return f.urls, f.err }

func TestDiscoverKeys(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "example.com", Path: "/key"}
	for _, tt := range []struct {
		scope  keystore.Scope
		finder fakeFinder
		want   string
		err    string
	}{
		{"example.com", fakeFinder{urls: []*url.URL{u}}, "https://example.com/key", ""},
		{"example.com", fakeFinder{}, "", "meta discovery on example.com resulted in no keys"},
		{"example.com", fakeFinder{err: errors.New("discovery failed")}, "", "prefix meta discovery error: discovery failed"},
		{keystore.Root, fakeFinder{urls: []*url.URL{u}}, "", "empty prefix"},
	} {
		kt, _, _, _ := reviewer(t, strings.NewReader(""))
		kt.finder = tt.finder
		got, err := kt.discover(t.Context(), tt.scope)
		if (err != nil) != (tt.err != "") || err != nil && err.Error() != tt.err || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, %v", tt.scope, got, err)
		}
	}
}

// TestTrustForFetch: keys for an image that is fetched by name.
func TestTrustForFetch(t *testing.T) {
	for _, tt := range []struct {
		name    string
		set     func(kt *keyTruster, key *string)
		stderr  string
		trusted bool
	}{
		{"from https, as the user wants", func(kt *keyTruster, _ *string) { kt.Global.TrustKeysFromHTTPS = true }, "", true},
		{"no terminal", func(kt *keyTruster, _ *string) { kt.terminal = false }, "image: error adding keys: error reviewing key: ", false},
		{"reviewed", func(kt *keyTruster, _ *string) { kt.stdin = strings.NewReader("yes\n") }, "", true},
		{"not verified https", func(kt *keyTruster, _ *string) { kt.Global.Insecure.TLS = true }, "", false},
		{"http", func(_ *keyTruster, key *string) { *key = "http" + strings.TrimPrefix(*key, "https") }, "--insecure-allow-http required for http URLs", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kt, path, _, stderr := reviewer(t, strings.NewReader(""))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
			defer s.Close()
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			kt.roots = roots
			location := s.URL + "/key"
			tt.set(kt, &location)
			u, err := url.Parse(location)
			if err != nil {
				t.Fatal(err)
			}
			kt.finder = fakeFinder{urls: []*url.URL{u}}
			kt.forFetch(t.Context(), "example.com/app")
			if !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("stderr %q", stderr)
			}
			has, err := kt.store.HasPrefixKeys("example.com/app")
			if err != nil || has != tt.trusted {
				t.Errorf("trusted %v, %v; stderr %q", has, err, stderr)
			}
			if !has {
				return
			}
			stderr.Reset()
			kt.forFetch(t.Context(), "example.com/app")
			if want := "image: keys already exist for prefix \"example.com/app\", not fetching again\n"; stderr.String() != want {
				t.Errorf("stderr %q", stderr)
			}
		})
	}
}
