// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var b64 = base64.StdEncoding.EncodeToString

// bundleSigner signs as cosign 3 does with a key pair.
type bundleSigner struct {
	t   testing.TB
	key crypto.Signer
}

func (s bundleSigner) public() *Key {
	s.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	k, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

func (s bundleSigner) sign(message []byte, hash crypto.Hash) string {
	s.t.Helper()
	sum := message
	switch hash {
	case crypto.SHA256:
		d := sha256.Sum256(message)
		sum = d[:]
	case crypto.SHA384:
		d := sha512.Sum384(message)
		sum = d[:]
	case crypto.SHA512:
		d := sha512.Sum512(message)
		sum = d[:]
	}
	sig, err := s.key.Sign(rand.Reader, sum, hash)
	if err != nil {
		s.t.Fatal(err)
	}
	return b64(sig)
}

func statement(predicate, name, digest string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`,
		name, strings.TrimPrefix(digest, "sha256:"), predicate)
}

// envelope is a bundle with a statement.
func (s bundleSigner) envelope(hash crypto.Hash, text string) string {
	pae := fmt.Sprintf("DSSEv1 28 application/vnd.in-toto+json %d %s", len(text), text)
	return fmt.Sprintf(`{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":"aGludA=="},"tlogEntries":[{"logIndex":"1"}]},`+
		`"dsseEnvelope":{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":%q,"keyid":""}]}}`,
		BundleType, b64([]byte(text)), s.sign([]byte(pae), hash))
}

// message is a bundle with a signature of the message.
func (s bundleSigner) message(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf(`{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":"x"}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":%q}}`,
		BundleType, b64(sum[:]), s.sign([]byte(text), crypto.SHA256))
}

func p256(t testing.TB) bundleSigner {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return bundleSigner{t, k}
}

func digestOfText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

const bundleImage = `{"schemaVersion":2}`

func TestBundleKeys(t *testing.T) {
	image := Image{Digest: digestOfText(bundleImage), Repository: "quay.io/team/app", Tag: "1"}
	good := statement(signPredicate, "", image.Digest)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key    crypto.Signer
		hashes []crypto.Hash
		digest bool // signs digests
	}{
		"P-256":   {p256(t).key, []crypto.Hash{crypto.SHA256}, true},
		"P-384":   {p384, []crypto.Hash{crypto.SHA256, crypto.SHA384}, true},
		"P-521":   {p521, []crypto.Hash{crypto.SHA256, crypto.SHA512}, true},
		"RSA":     {r, []crypto.Hash{crypto.SHA256}, true},
		"Ed25519": {ed, []crypto.Hash{0}, false},
	} {
		s := bundleSigner{t, tt.key}
		for _, hash := range tt.hashes {
			b, err := ParseBundle([]byte(s.envelope(hash, good)))
			if err != nil {
				t.Fatal(err)
			}
			if k, err := VerifyBundle([]*Key{p256(t).public(), s.public()}, b, image); err != nil || k.ID() != s.public().ID() {
				t.Errorf("%s, %v: %v", name, hash, err)
			}
			if _, err := VerifyBundle([]*Key{p256(t).public()}, b, image); !errors.Is(err, ErrNotSigned) {
				t.Errorf("%s: by another key: %v", name, err)
			}
		}
		if !tt.digest {
			continue
		}
		b, err := ParseBundle([]byte(s.message(bundleImage)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyBundle([]*Key{s.public()}, b, image); err != nil {
			t.Errorf("%s, message: %v", name, err)
		}
	}
}

// TestBundleAbout: a good signature of something else is none of the image.
func TestBundleAbout(t *testing.T) {
	s := p256(t)
	image := Image{Digest: digestOfText(bundleImage), Repository: "docker.io/library/app", Tag: "1"}
	other := digestOfText("other")
	for name, tt := range map[string]struct {
		bundle string
		want   string // "": good
	}{
		"statement":              {s.envelope(crypto.SHA256, statement(signPredicate, "", image.Digest)), ""},
		"with the name":          {s.envelope(crypto.SHA256, statement(signPredicate, "index.docker.io/library/app", image.Digest)), ""},
		"another name":           {s.envelope(crypto.SHA256, statement(signPredicate, "quay.io/x/app", image.Digest)), ErrOtherRef.Error()},
		"another image":          {s.envelope(crypto.SHA256, statement(signPredicate, "", other)), ErrOtherHash.Error()},
		"message of another":     {s.message("other"), ErrOtherHash.Error()},
		"provenance":             {s.envelope(crypto.SHA256, statement("https://slsa.dev/provenance/v1", "", image.Digest)), "is about \"https://slsa.dev/provenance/v1\""},
		"statement of version 0": {s.envelope(crypto.SHA256, strings.Replace(statement(signPredicate, "", image.Digest), "Statement/v1", "Statement/v0.1", 1)), "Statement/v0.1"},
		"no subject":             {s.envelope(crypto.SHA256, `{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"`+signPredicate+`"}`), "about 0 things"},
		"two digests":            {s.envelope(crypto.SHA256, strings.Replace(statement(signPredicate, "", image.Digest), `"sha256":`, `"sha256":"00","sha256":`, 1)), "is there twice"},
		"digest in capitals":     {s.envelope(crypto.SHA256, statement(signPredicate, "", strings.ToUpper(image.Digest))), ErrOtherHash.Error()},
		"subject twice":          {s.envelope(crypto.SHA256, strings.Replace(statement(signPredicate, "", image.Digest), `"subject":`, `"Subject":[],"subject":`, 1)), "Subject"},
		"text after it":          {s.envelope(crypto.SHA256, statement(signPredicate, "", image.Digest)+"{}"), "something follows"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := ParseBundle([]byte(tt.bundle))
			if err != nil {
				t.Fatal(err)
			}
			_, err = VerifyBundle([]*Key{s.public()}, b, image)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	// A file has no name that could be compared.
	b, err := ParseBundle([]byte(s.envelope(crypto.SHA256, statement(signPredicate, "quay.io/x/app", image.Digest))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyBundle([]*Key{s.public()}, b, Image{Digest: image.Digest, Local: true}); err != nil {
		t.Errorf("local: %v", err)
	}
}

func TestParseBundle(t *testing.T) {
	s := p256(t)
	good := s.envelope(crypto.SHA256, statement(signPredicate, "", digestOfText("x")))
	message := s.message("x")
	replace := func(text, from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("no %s in %s", from, text)
		}
		return strings.Replace(text, from, to, 1)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"version 0.2":      {replace(good, "v0.3", "v0.2"), "v0.2"},
		"certificate":      {replace(good, `"publicKey":{`, `"certificate":{"rawBytes":""},"publicKey":{`), ErrNotKey.Error()},
		"chain":            {replace(good, `"publicKey":{`, `"x509CertificateChain":{"rawBytes":""},"publicKey":{`), ErrNotKey.Error()},
		"no key":           {replace(good, `"publicKey"`, `"nothing"`), "does not say"},
		"neither":          {replace(good, `"dsseEnvelope"`, `"nothing"`), "either"},
		"both":             {replace(good, `"dsseEnvelope"`, message[strings.Index(message, `"messageSignature"`):len(message)-1]+`,"dsseEnvelope"`), "either"},
		"name twice":       {replace(good, `"mediaType":`, `"mediaType":"x","mediaType":`), "is there twice"},
		"other case":       {replace(good, `"mediaType":`, `"MediaType":`), "is misspelled"},
		"long s":           {replace(good, `"signatures":`, "\"\u017fignatures\":"), "is misspelled"},
		"payload type":     {replace(good, `"payloadType":"application/vnd.in-toto+json"`, `"payloadType":"text/plain"`), "text/plain"},
		"no signatures":    {replace(good, `"signatures":[{`, `"signatures":[],"x":[{`), "has 0 signatures"},
		"no base64":        {replace(good, `"payload":"`, `"payload":"*`), "no base64"},
		"digest algorithm": {replace(message, "SHA2_256", "SHA1"), "no SHA-256"},
		"no JSON":          {"x", "invalid character"},
		"deep":             {strings.Repeat("[", 100), "deeper than"},
		"something after":  {good + "x", ""},
		"large":            {strings.Repeat(" ", MaxBundle) + good, "larger than"},
	} {
		if _, err := ParseBundle([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestBundleEntries: bundles are found beside signatures of the older form.
func TestBundleEntries(t *testing.T) {
	m, err := json.Marshal(map[string]any{"layers": []map[string]any{
		{"mediaType": BundleType, "digest": digestOfText("b"), "size": 1},
		{"mediaType": BundleType, "digest": digestOfText("b"), "size": MaxBundle + 1},
		{"mediaType": BundleType, "digest": "sha512:00", "size": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := Entries(m)
	if err != nil || len(entries) != 1 || !entries[0].Bundle {
		t.Errorf("%+v, %v", entries, err)
	}
}

// FuzzBundle: whatever a bundle is, it is of no use without the key.
func FuzzBundle(f *testing.F) {
	s := p256(f)
	f.Add([]byte(s.envelope(crypto.SHA256, statement(signPredicate, "", digestOfText("x")))))
	f.Add([]byte(s.message("x")))
	f.Add([]byte(`{"mediaType":"` + BundleType + `","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{}}`))
	stranger := p256(f).public()
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle(data)
		if err != nil {
			return
		}
		if _, err := VerifyBundle([]*Key{stranger}, b, Image{Digest: digestOfText("x")}); err == nil {
			t.Error("accepted")
		}
		_ = aboutStatement(b.payload, Image{Digest: digestOfText("x")})
	})
}
