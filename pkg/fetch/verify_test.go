// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
)

// signer is somebody with a key.
type signer struct{ entity *openpgp.Entity }

func newSigner(t testing.TB, name string) *signer {
	t.Helper()
	made := time.Now().Add(-time.Hour)
	e, err := openpgp.NewEntity(name, "", strings.ToLower(name)+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &signer{e}
}

func (s *signer) sign(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, "PGP SIGNATURE", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := openpgp.DetachSign(w, []*openpgp.Entity{s.entity}, bytes.NewReader(data), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func (s *signer) trust(t testing.TB, store *keystore.Store, scope keystore.Scope) {
	t.Helper()
	var public bytes.Buffer
	if err := s.entity.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	keys, err := keystore.ReadKeys(&public)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add(scope, keys); err != nil {
		t.Fatal(err)
	}
}

func (s *signer) fingerprint() string { return strings.ToLower(hexOf(s.entity.PrimaryKey.Fingerprint)) }

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range b {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

// TestVerify fetches one image from a file and from a web server, signed well
// and badly.
func TestVerify(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app/web", ""), 100_000, compression.Gzip)
	tampered := bytes.Clone(data)
	tampered[len(tampered)-30] ^= 1
	retold := makeACI(t, imageManifest("example.com/app/web", `,"annotations":[]`), 100_000, compression.Gzip)
	alice, mallory := newSigner(t, "Alice"), newSigner(t, "Mallory")
	sig := alice.sign(t, data)
	for _, tt := range []struct {
		name      string
		scope     keystore.Scope
		aci       []byte
		signature []byte // nil: none
		want      string // part of the error
		hint      string
	}{
		{"prefix", "example.com/app", data, sig, "", ""},
		{"name", "example.com/app/web", data, sig, "", ""},
		{"root", keystore.Root, data, sig, "", ""},
		{"two signatures", "example.com", data, append(mallory.sign(t, data), sig...), "", ""},
		{"wrong prefix", "example.com/ap", data, sig, `image "example.com/app/web" verification failed: openpgp: signature made by unknown entity`, "rkt trust"},
		{"wrong key", "example.com/app", data, mallory.sign(t, data), "openpgp: signature made by unknown entity", "rkt trust"},
		{"tampered", "example.com/app", tampered, sig, "", "any"},
		{"other image", "example.com/app", retold, sig, `image "example.com/app/web" verification failed: openpgp: invalid signature: `, "get image and signature again"},
		{"no signature", "example.com/app", data, nil, "signature file: ", "--insecure-options=image"},
		{"not a signature", "example.com/app", data, []byte("<html>"), "keystore: no valid signatures found in signature file", ""},
	} {
		check := func(t *testing.T, store *fakeStore, id appc.ImageID, err error, out *output) {
			t.Helper()
			good := tt.want == "" && tt.hint == ""
			if left := store.leftovers(t); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			if !good {
				if err == nil {
					t.Fatal("accepted")
				}
				wantError(t, err, tt.want)
				if !strings.Contains(hint.Of(err), strings.TrimPrefix(tt.hint, "any")) {
					t.Errorf("hint %q", hint.Of(err))
				}
				if len(store.images) > 0 || len(store.remotes) > 0 {
					t.Errorf("store has %v, %v", store.images, store.remotes)
				}
				if strings.Contains(err.Error(), "unknown entity") {
					out.has(t, "image: If you expected the signing key to change, try running:", "    rkt trust --prefix example.com/app/web")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v := store.images[id].verified
			if v == nil || v.Fingerprint != alice.fingerprint() || v.Prefix != string(tt.scope) {
				t.Errorf("verified %+v", v)
			}
			out.has(t, "image: signature verified:\n  Alice <alice@example.com>")
		}
		t.Run("file/"+tt.name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := secureFetcher(t, store, alice, tt.scope)
			path := filepath.Join(t.TempDir(), "app.aci")
			if err := os.WriteFile(path, tt.aci, 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.signature != nil {
				if err := os.WriteFile(path+".asc", tt.signature, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			id, err := f.Fetch(t.Context(), path, ImageOptions{})
			check(t, store, id, err, out)
		})
		t.Run("url/"+tt.name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := secureFetcher(t, store, alice, tt.scope)
			s := serve(t, true, tt.aci)
			s.handle = signatureHandler(tt.signature)
			f.Insecure.TLS = true
			id, err := f.Fetch(t.Context(), s.URL+"/app.aci", ImageOptions{})
			check(t, store, id, err, out)
			out.has(t, "image: warning: TLS verification has been disabled", "image: downloading signature from "+s.URL+"/app.aci.asc")
			if tt.signature == nil && len(s.seen()) != 1 {
				t.Error("image without signature was asked for")
			}
		})
		t.Run("url and --signature/"+tt.name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := secureFetcher(t, store, alice, tt.scope)
			s := serve(t, false, tt.aci)
			path := filepath.Join(t.TempDir(), "sig")
			if tt.signature != nil {
				if err := os.WriteFile(path, tt.signature, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			id, err := f.Fetch(t.Context(), s.URL+"/app.aci", ImageOptions{Signature: path})
			check(t, store, id, err, out)
		})
	}
}

// secureFetcher is a Fetcher that trusts a signer.
func secureFetcher(t *testing.T, s Store, trusted *signer, scope keystore.Scope) (*Fetcher, *output) {
	f, out := fetcher(s)
	f.Insecure.Image = false
	f.Keys = &keystore.Store{LocalDir: t.TempDir()}
	trusted.trust(t, f.Keys, scope)
	return f, out
}

func signatureHandler(signature []byte) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case !strings.HasSuffix(req.URL.Path, ".asc"):
			return false
		case signature == nil:
			http.NotFound(w, req)
		default:
			_, _ = w.Write(signature)
		}
		return true
	}
}

func TestMissingSignatureFile(t *testing.T) {
	f, _ := secureFetcher(t, newFakeStore(t), newSigner(t, "Alice"), "example.com")
	path := filepath.Join(t.TempDir(), "app.aci")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := f.Fetch(t.Context(), path, ImageOptions{})
	wantError(t, err, "error opening signature file: open "+path+".asc: no such file or directory")
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("not ErrNotExist")
	}
}

// A server may have no signature before it is asked for the image.
func TestDeferredSignature(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", ""), 100_000, compression.Gzip)
	alice := newSigner(t, "Alice")
	for _, tt := range []struct {
		name      string
		signature []byte // that comes the second time; nil: deferred again
		want      string
	}{
		{"good", alice.sign(t, data), ""},
		{"again", nil, "error downloading the signature file: server asked to defer the download again"},
		{"bad", alice.sign(t, data[1:]), "openpgp: invalid signature: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := secureFetcher(t, store, alice, "example.com")
			s := serve(t, false, data)
			asked := 0
			s.handle = func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.HasSuffix(req.URL.Path, ".asc") {
					return false
				}
				if asked++; asked == 1 || tt.signature == nil {
					w.WriteHeader(http.StatusAccepted)
					return true
				}
				_, _ = w.Write(tt.signature)
				return true
			}
			id, err := f.Fetch(t.Context(), s.URL+"/app.aci", ImageOptions{})
			out.has(t, "image: server requested deferring the signature download")
			if left := store.leftovers(t); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			if tt.want != "" {
				wantError(t, err, tt.want)
				if len(store.images) > 0 {
					t.Error("image was kept")
				}
				return
			}
			if err != nil || store.images[id].verified == nil {
				t.Fatalf("%v, %+v", err, store.images[id])
			}
		})
	}
}

// A download that was resumed is verified as a whole, and started over if that
// fails.
func TestVerifyResumed(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", ""), 100_000, compression.None)
	alice := newSigner(t, "Alice")
	for _, good := range []bool{true, false} {
		store := newFakeStore(t)
		f, out := secureFetcher(t, store, alice, "example.com")
		s := serve(t, false, data)
		s.etag = `"1"`
		cut := true
		signature := alice.sign(t, data)
		s.handle = func(w http.ResponseWriter, req *http.Request) bool {
			if signatureHandler(signature)(w, req) {
				return true
			}
			if req.Method == http.MethodGet && cut {
				cut = false
				body := bytes.Clone(data[:50_000])
				if !good {
					body[40_000] ^= 1
				}
				w.Header().Set("Content-Length", "200000")
				_, _ = w.Write(body)
				return true
			}
			return false
		}
		if _, err := f.Fetch(t.Context(), s.URL+"/app.aci", ImageOptions{}); err == nil {
			t.Fatal("broken download succeeded")
		}
		id, err := f.Fetch(t.Context(), s.URL+"/app.aci", ImageOptions{})
		if err != nil || store.images[id].verified == nil {
			t.Fatalf("good %v: %v", good, err)
		}
		if started := strings.Contains(out.String(), "starting over"); started == good {
			t.Errorf("good %v: started over: %v", good, started)
		}
	}
}

// TestSource is what a fetch by name asks for.
func TestSource(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", `,"labels":[{"name":"version","value":"1"}]`), 1000, compression.Gzip)
	alice, mallory := newSigner(t, "Alice"), newSigner(t, "Mallory")
	version := func(v string) appc.Labels { return appc.Labels{{Name: "version", Value: v}} }
	for _, tt := range []struct {
		name     string
		want     distribution.Appc
		by       *signer
		err      string
		requests int
	}{
		{"good", distribution.Appc{Name: "example.com/app", Labels: version("1")}, alice, "", 2},
		{"unknown signer", distribution.Appc{Name: "example.com/app"}, mallory, "signature made by unknown entity", 1},
		{"name", distribution.Appc{Name: "example.com/other"}, alice, `error when reading the app name: "example.com/other" expected but "example.com/app" found`, 2},
		{"label", distribution.Appc{Name: "example.com/app", Labels: version("2")}, alice, `requested value for label "version": "2" differs from fetched aci label value: "1"`, 2},
		{"no label", distribution.Appc{Name: "example.com/app", Labels: appc.Labels{{Name: "os", Value: "linux"}}}, alice, `requested label "os" not provided by the image manifest`, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := secureFetcher(t, store, alice, "example.com")
			s := serve(t, false, data)
			s.handle = signatureHandler(tt.by.sign(t, data))
			var asked []appc.Identifier
			f.TrustKeys = func(_ context.Context, name appc.Identifier) { asked = append(asked, name) }
			r, err := f.newRun(ImageOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.close()
			_, err = r.fromSource(t.Context(), source{
				url: s.URL + "/a", sigURL: s.URL + "/elsewhere.asc", latest: true, want: &tt.want,
			})
			if n := len(s.seen()); n != tt.requests || len(asked) != 1 || asked[0] != tt.want.Name {
				t.Errorf("%d requests, keys asked for: %v", n, asked)
			}
			if tt.err == "" {
				if err != nil || store.remotes[s.URL+"/a"].SigURL != s.URL+"/elsewhere.asc" {
					t.Fatalf("%v, %+v", err, store.remotes)
				}
				return
			}
			wantError(t, err, tt.err)
			if tt.by == mallory {
				out.has(t, `    rkt trust --prefix "example.com/app"`)
			}
		})
	}
}
