// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"crypto"
	"errors"
	"fmt"
	"hash"
	"io"

	// The hash functions that signatures may use.
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// ErrNoSignatures is a file that is not a detached signature.
var ErrNoSignatures = errors.New("keystore: no valid signatures found in signature file")

// Signatures are the detached signatures of one file, at least one.
type Signatures struct{ list []*packet.Signature }

// ReadSignatures reads a detached signature, armored or binary.
func ReadSignatures(r io.Reader) (*Signatures, error) {
	data, err := readCapped(r)
	if err != nil {
		return nil, fmt.Errorf("signature file: %w", err)
	}
	return parseSignatures(data)
}

func parseSignatures(data []byte) (*Signatures, error) {
	raw, err := dearmor(data, armorSignature)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSignatures, err)
	}
	packets, err := splitPackets(raw, maxSignatures, isSignaturePacket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSignatures, err)
	}
	s := &Signatures{}
	for _, p := range packets {
		if p.Tag != tagSignature {
			continue
		}
		parsed, perr := p.Parse()
		if sig, ok := parsed.(*packet.Signature); ok && perr == nil {
			s.list = append(s.list, sig)
			continue
		}
		err = perr // of a kind that others may understand
	}
	if len(s.list) == 0 {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoSignatures, err)
		}
		return nil, ErrNoSignatures
	}
	return s, nil
}

func isSignaturePacket(tag uint8) bool {
	return tag == tagSignature || tag == tagMarker || tag == tagPadding
}

// goodHash tells whether a hash function is strong enough to sign data with.
func goodHash(h crypto.Hash) bool {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		return true
	}
	return false
}

// Digest hashes data as the signatures need it. It is an io.Writer that never fails.
type Digest struct {
	sigs   *Signatures
	plain  map[crypto.Hash]hash.Hash // for signatures without salt
	salted map[*packet.Signature]hash.Hash
}

// Begin starts the verification of data that are to be written to the Digest.
func (s *Signatures) Begin() *Digest {
	d := &Digest{sigs: s, plain: map[crypto.Hash]hash.Hash{}, salted: map[*packet.Signature]hash.Hash{}}
	for _, sig := range s.list {
		if !goodHash(sig.Hash) {
			continue
		}
		if len(sig.Salt()) == 0 {
			if d.plain[sig.Hash] == nil {
				d.plain[sig.Hash] = sig.Hash.New()
			}
			continue
		}
		if h, err := sig.PrepareVerify(); err == nil {
			d.salted[sig] = h
		}
	}
	return d
}

func (d *Digest) Write(p []byte) (int, error) {
	for _, h := range d.plain {
		_, _ = h.Write(p)
	}
	for _, h := range d.salted {
		_, _ = h.Write(p)
	}
	return len(p), nil
}

// of returns the state of the hash for one signature, which may be used up.
func (d *Digest) of(sig *packet.Signature) (hash.Hash, error) {
	h := d.salted[sig]
	if h == nil {
		h = d.plain[sig.Hash]
	}
	cloner, ok := h.(hash.Cloner)
	if !ok {
		return nil, fmt.Errorf("hash function %s has no state to copy", sig.Hash)
	}
	return cloner.Clone()
}
