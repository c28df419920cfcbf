// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// BundleType is the media type of a sigstore bundle.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// What a bundle has to say.
const (
	statementType = "application/vnd.in-toto+json"
	statementKind = "https://in-toto.io/Statement/v1"
	// signPredicate is what "cosign sign" states: the image is signed. Other
	// statements, of where it was built or what is in it, are no approval.
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
	sha256Name    = "SHA2_256"
)

// Caps of bundles.
const (
	MaxBundle     = 1 << 20
	maxBundleSigs = 10
	maxSubjects   = 100
	maxDepth      = 64 // of values in values
)

// ErrNotKey is a bundle that is to be verified by a certificate.
var ErrNotKey = errors.New("bundle is signed with a certificate, not a key")

// Bundle is a sigstore bundle that was parsed. Nothing in it was verified.
type Bundle struct {
	payload    []byte // of the envelope
	kind       string // of payload
	signatures [][]byte
	// digest is what a message signature is of, nil for an envelope.
	digest []byte
}

// bundleJSON are the parts of a bundle that count. The entries of Rekor and the
// timestamps, which may be there, too, are not looked at: the key is what is trusted.
type bundleJSON struct {
	MediaType string `json:"mediaType"`
	Material  struct {
		PublicKey   *json.RawMessage `json:"publicKey"`
		Certificate *json.RawMessage `json:"certificate"`
		Chain       *json.RawMessage `json:"x509CertificateChain"`
	} `json:"verificationMaterial"`
	Message *struct {
		Digest struct {
			Algorithm string `json:"algorithm"`
			Digest    string `json:"digest"`
		} `json:"messageDigest"`
		Signature string `json:"signature"`
	} `json:"messageSignature"`
	Envelope *struct {
		Payload    string `json:"payload"`
		Type       string `json:"payloadType"`
		Signatures []struct {
			Signature string `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
}

// ParseBundle reads a bundle of version 0.3 that was made with a key.
func ParseBundle(data []byte) (*Bundle, error) {
	if len(data) > MaxBundle {
		return nil, fmt.Errorf("bundle is larger than the limit of %d bytes", MaxBundle)
	}
	var j bundleJSON
	if err := strictJSON(data, &j); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	switch {
	case j.MediaType != BundleType:
		return nil, fmt.Errorf("bundle of type %q, not %q", j.MediaType, BundleType)
	case j.Material.Certificate != nil || j.Material.Chain != nil:
		return nil, ErrNotKey
	case j.Material.PublicKey == nil:
		return nil, errors.New("bundle does not say that it is signed with a key")
	case (j.Message == nil) == (j.Envelope == nil):
		return nil, errors.New("bundle has to have either a message signature or an envelope")
	}
	var b *Bundle
	var err error
	if j.Message != nil {
		b, err = j.message()
	} else {
		b, err = j.envelope()
	}
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return b, nil
}

func (j *bundleJSON) message() (*Bundle, error) {
	m := j.Message
	digest, err := base64.StdEncoding.DecodeString(m.Digest.Digest)
	if m.Digest.Algorithm != sha256Name || err != nil || len(digest) != 32 {
		return nil, errors.New("message digest is no SHA-256")
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil || len(signature) == 0 {
		return nil, errors.New("message signature is no base64")
	}
	return &Bundle{signatures: [][]byte{signature}, digest: digest}, nil
}

func (j *bundleJSON) envelope() (*Bundle, error) {
	e := j.Envelope
	if e.Type != statementType {
		return nil, fmt.Errorf("envelope holds a %q, not a %q", e.Type, statementType)
	}
	b := &Bundle{kind: e.Type}
	var err error
	if b.payload, err = base64.StdEncoding.DecodeString(e.Payload); err != nil {
		return nil, errors.New("payload is no base64")
	}
	if n := len(e.Signatures); n == 0 || n > maxBundleSigs {
		return nil, fmt.Errorf("envelope has %d signatures; from 1 to %d are accepted", n, maxBundleSigs)
	}
	for _, s := range e.Signatures {
		signature, err := base64.StdEncoding.DecodeString(s.Signature)
		if err != nil || len(signature) == 0 {
			return nil, errors.New("signature is no base64")
		}
		b.signatures = append(b.signatures, signature)
	}
	return b, nil
}

// VerifyBundle tells whether the bundle is signed by one of the keys and about
// the image. It returns the key.
func VerifyBundle(keys []*Key, b *Bundle, image Image) (*Key, error) {
	for _, k := range keys {
		for _, s := range b.signatures {
			switch {
			case b.digest != nil && k.signedDigest(b.digest, s):
				return k, b.aboutMessage(image)
			case b.digest == nil && k.signedEnvelope(preAuth(b.kind, b.payload), s):
				return k, aboutStatement(b.payload, image)
			}
		}
	}
	return nil, ErrNotSigned
}

// preAuth is what the signature of an envelope is of (DSSE, PAE).
func preAuth(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}

// aboutMessage: the message is the manifest itself.
func (b *Bundle) aboutMessage(image Image) error {
	if got := "sha256:" + hex.EncodeToString(b.digest); got != image.Digest {
		return fmt.Errorf("%w: %q expected but %q signed", ErrOtherHash, image.Digest, got)
	}
	return nil
}

// aboutStatement tells whether a statement that is signed is that the image is
// signed. A subject has no name when cosign made it; one that has is for that
// repository alone.
func aboutStatement(payload []byte, image Image) error {
	var s struct {
		Kind      string `json:"_type"`
		Predicate string `json:"predicateType"`
		Subject   []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := strictJSON(payload, &s); err != nil {
		return fmt.Errorf("signed statement: %w", err)
	}
	switch {
	case s.Kind != statementKind:
		return fmt.Errorf("signed statement is a %q, not a %q", s.Kind, statementKind)
	case s.Predicate != signPredicate:
		return fmt.Errorf("signed statement is about %q, not %q", s.Predicate, signPredicate)
	case len(s.Subject) == 0 || len(s.Subject) > maxSubjects:
		return fmt.Errorf("signed statement is about %d things; from 1 to %d are accepted", len(s.Subject), maxSubjects)
	case !digestPattern.MatchString(image.Digest):
		return fmt.Errorf("%w: %q expected", ErrOtherHash, image.Digest)
	}
	var other error
	for _, subject := range s.Subject {
		if got := "sha256:" + subject.Digest["sha256"]; got != image.Digest {
			continue
		}
		if other = image.named(subject.Name); other == nil {
			return nil
		}
	}
	if other != nil {
		return other
	}
	return fmt.Errorf("%w: %q is not among what is signed", ErrOtherHash, image.Digest)
}

// strictJSON reads one value. That a name is there twice, or in another
// spelling, is an error: readers differ in which one they take.
func strictJSON(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := checkNames(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return json.Unmarshal(data, to)
}

// checkNames reads one value.
func checkNames(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values are nested deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for d.More() {
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			folded := foldName(name)
			if names[folded] {
				return fmt.Errorf("%q is there twice", name)
			}
			names[folded] = true
			if !slices.Contains(knownNames(), name) && slices.ContainsFunc(knownNames(), func(k string) bool { return foldName(k) == folded }) {
				return fmt.Errorf("%q is misspelled", name)
			}
		}
		if err := checkNames(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
