// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
)

func identifier(s string) appc.Identifier { return appc.Identifier(s) }

// TestVerdicts makes keys and signatures with GnuPG; the table is the
// documentation of what is accepted (docs/trust.md).
func TestVerdicts(t *testing.T) {
	g := newGPG(t)
	data := []byte("the bytes of an image as they were fetched")
	now := time.Now()
	past := now.AddDate(-3, 0, 0)

	rsa := g.makeKey("RSA <rsa@example.com>", "rsa2048", "sign", "never", at(past)...)
	ecdsa := g.makeKey("ECDSA <ecdsa@example.com>", "nistp256", "sign", "never", at(past)...)
	ed := g.makeKey("Ed25519 <ed@example.com>", "ed25519", "sign", "never", at(past)...)
	small := g.makeKey("Small <small@example.com>", "rsa1024", "sign", "never", at(past)...)
	expired := g.makeKey("Expired <expired@example.com>", "ed25519", "sign", "1y", at(past)...)
	revoked := g.makeKey("Revoked <revoked@example.com>", "ed25519", "sign", "never", at(past)...)
	stranger := g.makeKey("Stranger <stranger@example.com>", "ed25519", "sign", "never", at(past)...)
	renewed := g.makeKey("Renewed <renewed@example.com>", "ed25519", "sign", "1y", at(past)...)
	sub := g.makeKey("Sub <sub@example.com>", "rsa2048", "cert", "never", at(past)...)
	g.run(nil, append(at(past), "--quick-add-key", strings.ToUpper(string(sub)), "ed25519", "sign", "never")...)

	old := g.makeKey("Old <old@example.com>", "rsa2048", "sign", "never", append(at(past.AddDate(-8, 0, 0)), "--cert-digest-algo=SHA1")...)

	inTime := at(past.AddDate(0, 1, 0))
	byExpired := g.sign(data, expired, inTime...)
	byRevoked := g.sign(data, revoked, inTime...)
	g.revoke(revoked)
	byRenewed := g.sign(data, renewed, inTime...)
	g.run(nil, "--quick-set-expire", strings.ToUpper(string(renewed)), "10y")
	good := g.sign(data, rsa)
	two := append(g.sign(data, stranger), g.sign(data, ed)...)
	twoBinary := g.run(data, "--detach-sign", "--local-user", string(stranger), "--local-user", string(ed))

	store := &Store{LocalDir: t.TempDir()}
	for _, f := range []Fingerprint{rsa, ecdsa, ed, small, expired, revoked, sub, old} {
		if _, err := store.Add("example.com/app", mustKeys(t, g.export(f))); err != nil {
			t.Fatal(err)
		}
	}
	minimal := g.run(nil, "--armor", "--export-options", "export-minimal", "--export", string(renewed))
	if _, err := store.Add("example.com/app", mustKeys(t, minimal)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		signature []byte
		by        Fingerprint
		refused   string // part of the error, and of its hint
		hint      string
	}{
		{"good, RSA", good, rsa, "", ""},
		{"good, ECDSA", g.sign(data, ecdsa), ecdsa, "", ""},
		{"good, Ed25519", g.sign(data, ed), ed, "", ""},
		{"good, binary", g.run(data, "--detach-sign", "--local-user", string(rsa)), rsa, "", ""},
		{"good, by a subkey", g.sign(data, sub), sub, "", ""},
		{"good, SHA-384", g.sign(data, rsa, "--digest-algo=SHA384"), rsa, "", ""},
		{"good, by a key that was renewed since and exported as it is now", byRenewed, renewed, "", ""},
		{"good, by a key that certifies itself with SHA-1", g.sign(data, old), old, "", ""},
		{"SHA-1 signature", g.sign(data, rsa, "--digest-algo=SHA1"), "", "made with SHA-1, which is too weak", "--digest-algo=SHA512"},
		{"SHA-224 signature", g.sign(data, rsa, "--digest-algo=SHA224"), "", "made with SHA-224, which is too weak", "--digest-algo=SHA512"},
		{"expired key", byExpired, "", "the key expired", "current key"},
		{"revoked key", byRevoked, "", "the key was revoked", "rkt trust rm"},
		{
			"expired signature", g.sign(data, ed, append(inTime, "--default-sig-expire=10d")...), "",
			"signature expired on ", "new signature",
		},
		{
			"signature older than its key", g.sign(data, ed, append(at(past.AddDate(-1, 0, 0)), "--ignore-time-conflict")...), "",
			"is older than its key", "new signature",
		},
		{"signature of the future", g.sign(data, ed, at(now.AddDate(1, 0, 0))...), "", "made in the future", "clock"},
		{"RSA-1024", g.sign(data, small), "", "the RSA key has only 1024 bits, at least 2048 are needed", "stronger key"},
		{"text signature", g.sign(data, ed, "--textmode"), "", "not a signature of binary data", "--detach-sign"},
		{"two signatures, the second trusted", two, ed, "", ""},
		{"two binary signatures, the second trusted", twoBinary, ed, "", ""},
		{"unknown key", g.sign(data, stranger), "", "openpgp: signature made by unknown entity", stranger.KeyID()},
		{"other data", g.sign(append([]byte("x"), data...), ed), "", "not what was signed", "get image and signature again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := verify(store, "example.com/app/web", data, tt.signature, time.Now().Add(time.Minute))
			if tt.refused == "" {
				if err != nil {
					t.Fatal(err)
				}
				if v.Fingerprint != tt.by || v.Scope != "example.com/app" || len(v.Identities) != 1 {
					t.Errorf("verified %+v, want key %s", v, tt.by)
				}
				return
			}
			if err == nil {
				t.Fatalf("accepted: %+v", v)
			}
			var refused *RefusedError
			if !errors.Is(err, ErrUnknownSigner) && (!errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "openpgp: invalid signature: ")) {
				t.Errorf("unexpected kind of error: %v", err)
			}
			if !strings.Contains(err.Error(), tt.refused) || !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("error %q\nhint %q\nwant %q, %q", err, hint.Of(err), tt.refused, tt.hint)
			}
		})
	}

	t.Run("tampered", func(t *testing.T) {
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 1
			if _, err := verify(store, "example.com/app", bad, good, time.Now()); err == nil {
				t.Fatalf("byte %d changed, accepted", i)
			}
		}
	})
	t.Run("other prefix", func(t *testing.T) {
		for _, name := range []string{"example.com/apple", "example.com", "example.org/app", "app", "example.com/ap"} {
			if _, err := verify(store, name, data, good, time.Now()); !errors.Is(err, ErrUnknownSigner) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("early check", func(t *testing.T) {
		ring, err := store.Keyring("example.com/app")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			signature []byte
			ok        bool
		}{
			{good, true},
			{two, true},
			{g.sign(data, stranger), false},
			{byRevoked, false},
		} {
			sigs, err := ReadSignatures(bytes.NewReader(tt.signature))
			if err != nil {
				t.Fatal(err)
			}
			if err := sigs.CheckSigners(ring, time.Now().Add(time.Minute)); (err == nil) != tt.ok {
				t.Errorf("CheckSigners: %v, want ok %v", err, tt.ok)
			}
		}
	})
	t.Run("status", func(t *testing.T) {
		infos, err := store.List(time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		got := map[Fingerprint]string{}
		for _, in := range infos {
			got[in.Fingerprint] = in.Status
		}
		for f, want := range map[Fingerprint]string{
			rsa: "valid", small: "too short", expired: "expired", revoked: "revoked", sub: "valid", renewed: "valid",
		} {
			if got[f] != want {
				t.Errorf("status of %s: %q, want %q", f, got[f], want)
			}
		}
	})
}
