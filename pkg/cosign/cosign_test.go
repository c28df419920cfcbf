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
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A signature made by cosign, published as a test vector by sigstore-rs
// (Apache-2.0).
const (
	publishedKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
-----END PUBLIC KEY-----`
	publishedDigest    = "sha256:f3cfc9d0dbf931d3db4685ec659b7ac68e2a578219da4aae65427886e649b06b"
	publishedPayload   = `{"critical":{"identity":{"docker-reference":"registry-testing.svc.lan/busybox"},"image":{"docker-manifest-digest":"` + publishedDigest + `"},"type":"cosign container image signature"},"optional":null}`
	publishedSignature = "MEUCIQD6q/COgzOyW0YH1Dk+CCYSt4uAhm3FDHUwvPI55zwnlwIgE0ZK58ZOWpZw8YVmBapJhBqCfdPekIknimuO0xH8Jh8="
)

func mustKey(t testing.TB, text string) *Key {
	t.Helper()
	k, err := ParseKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPublished(t *testing.T) {
	sig, err := base64.StdEncoding.DecodeString(publishedSignature)
	if err != nil {
		t.Fatal(err)
	}
	key := mustKey(t, publishedKey)
	other := mustKey(t, publicPEM(t, newECDSA(t, elliptic.P256()).Public()))
	good := Image{Digest: publishedDigest, Repository: "registry-testing.svc.lan/busybox", Tag: "v1"}
	if by, err := Verify([]*Key{other, key}, []byte(publishedPayload), sig, good); err != nil || by != key {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		keys      []*Key
		payload   string
		signature []byte
		change    func(*Image)
		want      error
	}{
		"no key":     {nil, publishedPayload, sig, nil, ErrNotSigned},
		"other key":  {[]*Key{other}, publishedPayload, sig, nil, ErrNotSigned},
		"payload":    {[]*Key{key}, publishedPayload + " ", sig, nil, ErrNotSigned},
		"signature":  {[]*Key{key}, publishedPayload, sig[1:], nil, ErrNotSigned},
		"digest":     {[]*Key{key}, publishedPayload, sig, func(i *Image) { i.Digest = "sha256:" + strings.Repeat("0", 64) }, ErrOtherHash},
		"no digest":  {[]*Key{key}, publishedPayload, sig, func(i *Image) { i.Digest = "" }, ErrOtherHash},
		"repository": {[]*Key{key}, publishedPayload, sig, func(i *Image) { i.Repository += "x" }, ErrOtherRef},
	} {
		image := good
		if tt.change != nil {
			tt.change(&image)
		}
		if _, err := Verify(tt.keys, []byte(tt.payload), tt.signature, image); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPublishedKinds takes vectors that Google published for its verifier
// (Apache-2.0): one payload, with key and algorithm in it, signed by openssl.
func TestPublishedKinds(t *testing.T) {
	const digest = "sha256:9494e567c7c44e8b9f8808c1658a47c9b7979ef3cceef10f48754fc2706802ba"
	const repository = "us-docker.pkg.dev/confidential-space-images-dev/cs-cosign-tests/base"
	for _, tt := range []struct{ algorithm, key, signature string }{
		{
			"ECDSA_P256_SHA256", `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMLdxI5u7ON+1QzJ+njeahioIRU/V
gqLf36SUAhbJ/Qnof5HkiJfXB/cBawuddv9JfNFL4nXLNZTHfz4uBrPduw==
-----END PUBLIC KEY-----`,
			"MEUCIDWVapx3r93lFmKRR3v2AzYUui2Pdur3AYSYkiicZKcEAiEAj3GC2+1JdRXxypXrUmTqtFrPxneCY3jQAdqoCDmjVx0=",
		},
		{
			"RSASSA_PKCS1V15_SHA256", `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtXmc2Ir66Wq0D2eO6+fK
I7SKJ85N6/FTsBW+i/KHQaecmpAmaatqqoSzmQ+34Ibpe6UPH+MlI19cwEYP/8Vk
MbMII9mM460jdLPUvhigJthv5nHm1htN+WPG9BiQuDkktWhOdJgZFbWtHXCEMW38
zZH6FDsnvuTW9oPDjEKNB7CpWnpbZNx50pTb2mMQZBW75W0mYuw4h++fo5Z7EpWm
N8Fg2TK/2Qu4KUSSdu8yYiZTn97AMNjoAiNFjRwWw7G+O2rOcMhuU2Gt8eieXyFm
JI6E7jgZRHtW6VddCLbchgJAXtbNOkV5cG2GLyoXq6sVJ61F70tx5VB54665SgNU
JwIDAQAB
-----END PUBLIC KEY-----`,
			"PxShLjtQfmju/mKLtHJ5gsX1M8nlkEv2uYpKuNvVeANSrH3Px4hAOw302G2YLPaLRMcsBnLKIVL4lHr0FqqDQluVj/eJJ+PHvcmSltbLhCvw2f1ZTjt/NcgThfL5gpywgAHVXSYESettaCezWsPvRlyf6vypKMbnaO8D6gWX96hAiAFdHbTnVlpQ5rBjbyErx5NkyZhaGPOqXk6FAtZDHFy7Cg+vaq9wItZzp/7+JC7dEIRQel9xSKYUKIG4W563Q/7i8DGMg+rETOxgpBR9oco3QNev7YIuDUd++Dk3M/Wv9b1u6I9aqBdVe86TU+5Ur2nyNxw9chzhNmtdu5zTyA==",
		},
	} {
		payload := fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},`+
			`"optional":{"dev.cosignproject.cosign/pub": %q,"dev.cosignproject.cosign/sigalg": %q}}`,
			repository, digest, base64.RawStdEncoding.EncodeToString([]byte(tt.key)), tt.algorithm)
		sig, err := base64.StdEncoding.DecodeString(tt.signature)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify([]*Key{mustKey(t, tt.key)}, []byte(payload), sig, Image{Digest: digest, Repository: repository}); err != nil {
			t.Errorf("%s: %v", tt.algorithm, err)
		}
	}
}

func newECDSA(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicPEM(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestKinds(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(publishedPayload))
	for _, k := range []crypto.Signer{newECDSA(t, elliptic.P256()), newECDSA(t, elliptic.P384()), newECDSA(t, elliptic.P521()), rsaKey, edKey} {
		data, hash := sum[:], crypto.SHA256
		if _, ok := k.(ed25519.PrivateKey); ok {
			data, hash = []byte(publishedPayload), crypto.Hash(0)
		}
		sig, err := k.Sign(rand.Reader, data, hash)
		if err != nil {
			t.Fatal(err)
		}
		key := mustKey(t, publicPEM(t, k.Public()))
		if !key.signed([]byte(publishedPayload), sig) || key.signed([]byte("x"), sig) || len(key.ID()) != 64 {
			t.Errorf("%T", k)
		}
	}
	for _, bad := range []string{
		"", "x", publicPEM(t, newECDSA(t, elliptic.P224()).Public()), publishedKey + "\n" + publishedKey,
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if _, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestIdentity(t *testing.T) {
	const d = publishedDigest
	for _, tt := range []struct {
		signed, repository, tag string
		ok                      bool
	}{
		{"example.com/a", "example.com/a", "", true},
		{"example.com/a", "example.com/a", "1", true},
		{"example.com/a:1", "example.com/a", "1", true},
		{"example.com/a:1", "example.com/a", "2", false},
		{"example.com/a:1", "example.com/a", "", true},
		{"example.com:5000/a", "example.com:5000/a", "1", true},
		{"example.com:5000/a", "example.com/a", "1", false},
		{"example.com/a@" + d, "example.com/a", "1", true},
		{"example.com/a@sha256:00", "example.com/a", "1", false},
		{"index.docker.io/library/busybox", "registry-1.docker.io/library/busybox", "latest", true},
		{"busybox", "docker.io/library/busybox", "latest", true},
		{"example.com/b", "example.com/a", "", false},
		{"", "example.com/a", "", false},
		{"", "", "", false},
	} {
		payload := fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, tt.signed, d)
		err := about([]byte(payload), Image{Digest: d, Repository: tt.repository, Tag: tt.tag})
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrOtherRef) {
			t.Errorf("%q for %q:%q: %v", tt.signed, tt.repository, tt.tag, err)
		}
	}
	for _, bad := range []string{"", "{}", "[]", `{"critical":{"type":"x"}}`, strings.Replace(publishedPayload, "cosign container", "atomic container", 1)} {
		if err := about([]byte(bad), Image{Digest: d, Repository: "a/b"}); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestEntries(t *testing.T) {
	manifest := fmt.Sprintf(`{"schemaVersion":2,"layers":[
		{"mediaType":%[1]q,"digest":%[2]q,"size":10,"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}},
		{"mediaType":%[1]q,"digest":%[2]q,"size":10,"annotations":{"dev.cosignproject.cosign/signature":"%%"}},
		{"mediaType":%[1]q,"digest":%[2]q,"size":10000000,"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}},
		{"mediaType":%[1]q,"digest":"sha256:../..","size":10,"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}},
		{"mediaType":"text/plain","digest":%[2]q,"size":10,"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}},
		{"mediaType":%[1]q,"digest":%[2]q,"size":10}]}`, PayloadType, publishedDigest)
	entries, err := Entries([]byte(manifest))
	if err != nil || len(entries) != 1 || entries[0].Digest != publishedDigest || string(entries[0].Signature) != "\x00\x00\x00" {
		t.Errorf("%+v, %v", entries, err)
	}
	many := `{"layers":[` + strings.Repeat(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"annotations":{"dev.cosignproject.cosign/signature":""}},`, PayloadType, publishedDigest), 500) + `{}]}`
	if entries, err := Entries([]byte(many)); err != nil || len(entries) != maxEntries {
		t.Errorf("%d, %v", len(entries), err)
	}
	tag, err := Tag(publishedDigest)
	if err != nil || tag != "sha256-"+publishedDigest[7:]+".sig" {
		t.Errorf("%q, %v", tag, err)
	}
	if tag, err := Tag("sha256:../x"); err == nil {
		t.Errorf("tag %q", tag)
	}
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte(`{"layers":[{"mediaType":"` + PayloadType + `","digest":"` + publishedDigest + `","annotations":{"dev.cosignproject.cosign/signature":"AAAA"}}]}`))
	f.Add([]byte(publishedPayload))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := Entries(data)
		if err == nil {
			for _, e := range entries {
				if _, err := Tag(e.Digest); err != nil || e.Size < 0 || e.Size > MaxPayload {
					t.Fatalf("%+v", e)
				}
			}
		}
		if about(data, Image{Digest: publishedDigest, Repository: "example.com/a"}) == nil && !strings.Contains(string(data), "igest") {
			t.Fatal("about nothing")
		}
	})
}
