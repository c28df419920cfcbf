// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

func armorAs(kind string, data []byte) []byte {
	return []byte("-----BEGIN " + kind + "-----\n\n" + base64.StdEncoding.EncodeToString(data) + "\n-----END " + kind + "-----\n")
}

// rawPacket is a packet in the new format.
func rawPacket(tag byte, body []byte) []byte {
	n := len(body)
	return append([]byte{0xc0 | tag, 0xff, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// bomb is compressed packets in compressed packets.
func bomb(t testing.TB, depth int) []byte {
	data := bytes.Repeat([]byte{0}, 10<<20)
	for range depth {
		var b bytes.Buffer
		b.WriteByte(1) // ZIP
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data = rawPacket(8, b.Bytes())
	}
	return data
}

// nested is signatures inside of signatures.
func nested(depth int) []byte {
	body := []byte{}
	for range depth {
		sub := append([]byte{32}, body...) // embedded signature
		n := len(sub)
		sub = append([]byte{255, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, sub...)
		if len(sub) > 60_000 {
			break
		}
		body = append([]byte{4, 0, 1, 8, byte(len(sub) >> 8), byte(len(sub))}, sub...)
		body = append(body, 0, 0, 0, 0, 0, 8, 255)
	}
	return rawPacket(tagSignature, body)
}

// TestHostile reads what somebody may serve in place of keys and signatures.
// It must be refused, soon and in little memory.
func TestHostile(t *testing.T) {
	e := newEntity(t, "one")
	var one bytes.Buffer
	if err := e.Serialize(&one); err != nil {
		t.Fatal(err)
	}
	var sig bytes.Buffer
	if err := openpgp.DetachSign(&sig, []*openpgp.Entity{e}, strings.NewReader("x"), nil); err != nil {
		t.Fatal(err)
	}
	zeros := func() io.Reader { return io.LimitReader(endless{}, 1<<40) }
	for _, tt := range []struct {
		name string
		in   io.Reader
	}{
		{"empty", strings.NewReader("")},
		{"endless", zeros()},
		{"endless armor", io.MultiReader(strings.NewReader("-----BEGIN PGP SIGNATURE-----\n\n"), zeros())},
		{"endless armor header", io.MultiReader(strings.NewReader("-----BEGIN PGP SIGNATURE-----\nA: "), zeros())},
		{"armor without end", strings.NewReader("-----BEGIN PGP SIGNATURE-----\n\n")},
		{"many blocks", bytes.NewReader(bytes.Repeat(armorAs(armorSignature, nil), 5000))},
		{"many keys", bytes.NewReader(bytes.Repeat(one.Bytes(), 500))},
		{"many signatures", bytes.NewReader(bytes.Repeat(sig.Bytes(), 100))},
		{"many small packets", bytes.NewReader(bytes.Repeat([]byte{0xc0 | tagMarker, 0}, 500_000))},
		{"bomb", bytes.NewReader(bomb(t, 2))},
		{"armored bomb", bytes.NewReader(armorAs(armorSignature, bomb(t, 3)))},
		{"nested signatures", bytes.NewReader(nested(5000))},
		{"packet longer than the file", bytes.NewReader([]byte{0xc2, 0xff, 0x7f, 0xff, 0xff, 0xff, 4})},
		{"text", strings.NewReader("<html>not found</html>")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := io.ReadAll(io.LimitReader(tt.in, MaxFile+1000))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, serr := ReadSignatures(bytes.NewReader(data))
			_, kerr := ReadKeys(bytes.NewReader(data))
			if serr == nil || kerr == nil {
				t.Errorf("accepted: %v, %v", serr, kerr)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Errorf("%d bytes allocated", used)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	return len(p), nil
}

// Subkeys, user IDs and certificates of strangers do not make a key sign.
func TestBorrowedSubkey(t *testing.T) {
	victim, mallory := newEntity(t, "victim"), newEntity(t, "mallory")
	made := time.Now().Add(-30 * time.Minute)
	c := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }}
	if err := mallory.AddSigningSubkey(c); err != nil {
		t.Fatal(err)
	}
	var sig bytes.Buffer
	if err := openpgp.DetachSign(&sig, []*openpgp.Entity{mallory}, strings.NewReader("data"), nil); err != nil {
		t.Fatal(err)
	}
	// A key file of the victim's key with the subkey of mallory.
	victim.Subkeys = append(victim.Subkeys, mallory.Subkeys...)
	keys := publicOf(t, victim)
	s := &Store{LocalDir: t.TempDir()}
	if _, err := s.Add(Root, keys); err != nil {
		t.Fatal(err)
	}
	_, err := verify(s, "a", []byte("data"), sig.Bytes(), time.Now())
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("error %v", err)
	}
}

func FuzzReadKey(f *testing.F) {
	e := newEntity(f, "one")
	var one bytes.Buffer
	if err := e.Serialize(&one); err != nil {
		f.Fatal(err)
	}
	f.Add(one.Bytes())
	f.Add(armorAs(armorKey, one.Bytes()))
	f.Add(rawPacket(tagUserID, []byte("x")))
	f.Add([]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\nA"))
	f.Add(nested(10))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ReadKeys(bytes.NewReader(data))
		if err != nil {
			return
		}
		stored, err := keys.Armored()
		if err != nil {
			return // grew over the limit
		}
		again, err := ReadKeys(bytes.NewReader(stored))
		if err != nil || again.Fingerprint() != keys.Fingerprint() || len(again.List) != len(keys.List) {
			t.Fatalf("what was read is not what is stored: %v", err)
		}
		for _, k := range keys.List {
			_ = k.Status(time.Now())
			for _, id := range k.Identities() {
				if strings.ContainsAny(id, "\n\r\x1b\x00") {
					t.Fatalf("identity %q", id)
				}
			}
			if _, err := ParseFingerprint(string(k.Fingerprint())); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzVerify changes a good signature: what is accepted was signed by the key.
func FuzzVerify(f *testing.F) {
	e := newEntity(f, "one")
	data := []byte("data")
	var sig, other bytes.Buffer
	for out, content := range map[*bytes.Buffer]string{&sig: "data", &other: "other"} {
		if err := openpgp.DetachSign(out, []*openpgp.Entity{e}, strings.NewReader(content), nil); err != nil {
			f.Fatal(err)
		}
	}
	s := &Store{LocalDir: f.TempDir()}
	if _, err := s.Add(Root, publicOf(f, e)); err != nil {
		f.Fatal(err)
	}
	ring, err := s.Keyring("a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sig.Bytes())
	f.Add(other.Bytes())
	f.Add(armorAs(armorSignature, sig.Bytes()))
	f.Add(append(other.Bytes(), sig.Bytes()...))
	f.Add(nested(20))
	now := time.Now().Add(time.Minute)
	f.Fuzz(func(t *testing.T, file []byte) {
		sigs, err := ReadSignatures(bytes.NewReader(file))
		if err != nil {
			return
		}
		digest, tampered := sigs.Begin(), sigs.Begin()
		_, _ = digest.Write(data)
		_, _ = tampered.Write([]byte("Data"))
		_, err = digest.Verify(ring, now)
		early := sigs.CheckSigners(ring, now)
		if err == nil && early != nil {
			t.Fatalf("accepted in the end, but early: %v", early)
		}
		if early == nil && sigs.Check(now) != nil {
			t.Fatal("the check without keys is stricter")
		}
		if v, err := tampered.Verify(ring, now); err == nil {
			t.Fatalf("other data accepted: %+v", v)
		}
	})
}
