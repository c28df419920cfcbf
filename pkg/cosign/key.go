// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/hint"
)

// Caps of what comes from outside.
const (
	MaxManifest = 1 << 20 // bytes of a signature manifest
	MaxPayload  = 64 << 10
	maxKeyFile  = 64 << 10
	maxEntries  = 100 // signatures of one image that are looked at
	minRSABits  = 2048
	maxRSABits  = 16384
)

// Key is a public key.
type Key struct {
	public crypto.PublicKey
	der    []byte
}

// ParseKey reads a public key in PEM, as in the file cosign.pub.
func ParseKey(data []byte) (*Key, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("key file is larger than the limit of %d bytes", maxKeyFile)
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("no public key in PEM found")
	case block.Type != "PUBLIC KEY":
		return nil, hint.With(fmt.Errorf("PEM block %q, not a public key", block.Type), "take the public key, as in the file cosign.pub")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the public key")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if err := strong(public); err != nil {
		return nil, err
	}
	return &Key{public, block.Bytes}, nil
}

func strong(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return fmt.Errorf("elliptic curve %s is too weak", k.Curve.Params().Name)
		}
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("RSA key of %d bits; from %d to %d are accepted", bits, minRSABits, maxRSABits)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("keys of type %T are not accepted", public)
}

// ID is the SHA-256 of the key, in hex.
func (k *Key) ID() string {
	sum := sha256.Sum256(k.der)
	return hex.EncodeToString(sum[:])
}

// Algorithm is the kind of the key, for people.
func (k *Key) Algorithm() string {
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + p.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", p.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}

// signedEnvelope is signed, for what cosign signs in an envelope. There the
// curves P-384 and P-521 may go with the hash of their own size.
func (k *Key) signedEnvelope(message, signature []byte) bool {
	if k.signed(message, signature) {
		return true
	}
	p, ok := k.public.(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	switch p.Curve.Params().BitSize {
	case 384:
		sum := sha512.Sum384(message)
		return ecdsa.VerifyASN1(p, sum[:], signature)
	case 521:
		sum := sha512.Sum512(message)
		return ecdsa.VerifyASN1(p, sum[:], signature)
	}
	return false
}

// signedDigest is signed, for a message of which only the SHA-256 is known. Keys
// of the type Ed25519 sign no digests.
func (k *Key) signedDigest(sum, signature []byte) bool {
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, sum, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum, signature) == nil
	}
	return false
}

// signed tells whether the signature is of the payload and by the key.
func (k *Key) signed(payload, signature []byte) bool {
	sum := sha256.Sum256(payload)
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, sum[:], signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(p, payload, signature)
	}
	return false
}
