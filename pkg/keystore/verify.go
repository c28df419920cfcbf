// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"crypto"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/rkt/rkt/v2/pkg/hint"
)

// ErrUnknownSigner is a signature by nobody whom the keyring knows.
var ErrUnknownSigner = errors.New("openpgp: signature made by unknown entity")

// RefusedError is signatures none of which is accepted, though a trusted key made at
// least one of them or none could be accepted whoever made it.
type RefusedError struct{ Reasons []string }

func (e *RefusedError) Error() string {
	return "openpgp: invalid signature: " + strings.Join(e.Reasons, "; ")
}

// Verified says whose signature was accepted.
type Verified struct {
	Fingerprint Fingerprint // of the primary key
	File        Fingerprint // that the key file in the keystore is named by
	Scope       Scope       // that the key is trusted for
	Signed      time.Time   // when the signature was made
	Identities  []string
}

// Verify tells whether one of the signatures is of the data that were written
// and was made by a key of the ring.
func (d *Digest) Verify(ring *Keyring, now time.Time) (*Verified, error) {
	return d.sigs.check(ring, now, d.of)
}

// CheckSigners finds out, without the data, that Verify would fail whatever
// they are: because of who made the signatures, with what, or when.
func (s *Signatures) CheckSigners(ring *Keyring, now time.Time) error {
	_, err := s.check(ring, now, nil)
	return err
}

// Check is CheckSigners as long as nobody knows which keys are trusted.
func (s *Signatures) Check(now time.Time) error {
	var refused refusals
	for _, sig := range s.list {
		err := usableSignature(sig, now)
		if err == nil {
			return nil
		}
		refused.add(sig, nil, err)
	}
	return refused.err()
}

// check goes through signatures and keys until one fits. Without digest the
// data are taken to be those that were signed.
func (s *Signatures) check(ring *Keyring, now time.Time, digest func(*packet.Signature) (hash.Hash, error)) (*Verified, error) {
	var refused refusals
	for _, sig := range s.list {
		for _, c := range ring.signers(sig) {
			err := c.check(sig, now, digest)
			if err == nil {
				return &Verified{
					Fingerprint: c.key.Fingerprint(), File: c.file.name, Scope: c.file.scope,
					Signed: sig.CreationTime, Identities: c.key.Identities(),
				}, nil
			}
			refused.add(sig, c.key, err)
		}
	}
	if len(refused.reasons) == 0 {
		return nil, hint.With(ErrUnknownSigner, "the signature is by key %s; if you know it to be the publisher's, "+
			"trust it with rkt trust --prefix=NAME KEY", s.signerIDs())
	}
	return nil, refused.err()
}

const shownSigners = 4

// signerIDs are the IDs of the keys that the signatures say they are from.
func (s *Signatures) signerIDs() string {
	var ids []string
	for _, sig := range s.list {
		if len(ids) == shownSigners {
			ids = append(ids, "...")
			break
		}
		ids = append(ids, signerID(sig))
	}
	return strings.Join(ids, ", ")
}

func signerID(sig *packet.Signature) string {
	if sig.IssuerKeyId == nil {
		return "(not named)"
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}

// refusals collects why signatures were not accepted.
type refusals struct {
	reasons []string
	hint    string
}

func (r *refusals) add(sig *packet.Signature, key *Key, err error) {
	who := signerID(sig)
	if key != nil {
		who = key.Fingerprint().KeyID()
		if ids := key.Identities(); len(ids) > 0 {
			who += " (" + ids[0] + ")"
		}
	}
	text := err.Error()
	var reason *reasonError
	if errors.As(err, &reason) && r.hint == "" {
		r.hint = reason.hint
	}
	r.reasons = append(r.reasons, text+", key "+who)
}

func (r *refusals) err() error {
	err := error(&RefusedError{r.reasons})
	if r.hint == "" {
		return err
	}
	return hint.With(err, "%s", r.hint)
}

// reasonError is one reason not to accept a signature.
type reasonError struct {
	short string // for a table of keys
	text  string
	hint  string
}

func (e *reasonError) Error() string { return e.text }

const (
	askNewSignature = "ask the publisher of the image for a new signature"
	askNewKey       = "get the publisher's current key and trust it with rkt trust"
	checkImage      = "get image and signature again, from the publisher: one of them is not what was signed"
)

const day = "2006-01-02"

// usableSignature checks what depends on no key.
func usableSignature(sig *packet.Signature, now time.Time) error {
	switch {
	case sig.Version != 4 && sig.Version != 6:
		return &reasonError{text: fmt.Sprintf("signature of version %d", sig.Version), hint: askNewSignature}
	case sig.SigType != packet.SigTypeBinary:
		return &reasonError{
			text: fmt.Sprintf("not a signature of binary data (type 0x%02x)", uint8(sig.SigType)),
			hint: "let the publisher sign with gpg --armor --detach-sign",
		}
	case !goodHash(sig.Hash):
		return &reasonError{
			text: fmt.Sprintf("made with %s, which is too weak", sig.Hash),
			hint: "let the publisher sign with gpg --digest-algo=SHA512 --armor --detach-sign",
		}
	case sig.CreationTime.After(now):
		return &reasonError{
			text: "made in the future, on " + sig.CreationTime.UTC().Format(day),
			hint: "check the clock of this host",
		}
	case sig.SigExpired(now):
		end := sig.CreationTime.Add(time.Duration(*sig.SigLifetimeSecs) * time.Second)
		return &reasonError{text: "signature expired on " + end.UTC().Format(day), hint: askNewSignature}
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return &reasonError{text: fmt.Sprintf("unknown critical notation %q", n.Name), hint: askNewSignature}
		}
	}
	return nil
}

// config is how strict the library is: its own defaults refuse DSA, MD5 and
// secp256k1. SHA-1 stays good enough for what a key says of itself, as
// keys of 2015 need it, but not for data.
func config(now time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return now }, MinRSABits: minRSABits - 1}
}

// candidate is a key that may have made a signature.
type candidate struct {
	file *keyFile
	key  *Key
	pub  *packet.PublicKey // the primary key or a subkey of it
}

func (c candidate) check(sig *packet.Signature, now time.Time, digest func(*packet.Signature) (hash.Hash, error)) error {
	if err := usableSignature(sig, now); err != nil {
		return err
	}
	if sig.CreationTime.Unix() < c.pub.CreationTime.Unix() {
		return &reasonError{
			text: fmt.Sprintf("signature of %s is older than its key of %s",
				sig.CreationTime.UTC().Format(day), c.pub.CreationTime.UTC().Format(day)),
			hint: askNewSignature,
		}
	}
	if err := c.key.usable(c.pub, now); err != nil {
		return err
	}
	if err := c.key.wasUsable(c.pub, sig.CreationTime, now); err != nil {
		return err
	}
	if err := c.key.maySign(c.pub, now); err != nil {
		return err
	}
	if digest == nil {
		return nil
	}
	h, err := digest(sig)
	if err != nil {
		return err
	}
	if err := c.pub.VerifySignature(h, sig); err != nil {
		var bad pgperrors.SignatureError
		if errors.As(err, &bad) {
			err = errors.New(string(bad))
		}
		return &reasonError{text: err.Error() + ": the data are not what was signed", hint: checkImage}
	}
	return nil
}

// usable tells whether the key and the part of it that is pub may be used now.
func (k *Key) usable(pub *packet.PublicKey, now time.Time) error {
	for _, part := range []*packet.PublicKey{k.entity.PrimaryKey, pub} {
		if err := strong(part); err != nil {
			return err
		}
		if part.CreationTime.After(now) {
			return &reasonError{
				short: "not yet valid", text: "the key was made in the future, on " + part.CreationTime.UTC().Format(day),
				hint: "check the clock of this host",
			}
		}
	}
	if _, err := k.entity.VerifyPrimaryKey(now, config(now)); err != nil {
		return k.explain(err, "")
	}
	if sub := k.subkey(pub); sub >= 0 {
		if _, err := k.entity.Subkeys[sub].Verify(now, config(now)); err != nil {
			return k.explain(err, "signing sub")
		}
	}
	return nil
}

// wasUsable tells whether the key was usable when the signature was made. Where
// nothing is left of what the key said of itself at that time (gpg
// --export-options=export-minimal leaves only the newest), what it says now counts.
func (k *Key) wasUsable(pub *packet.PublicKey, then, now time.Time) error {
	c := config(now)
	if _, err := k.entity.PrimarySelfSignature(then, c); err == nil {
		if _, err := k.entity.VerifyPrimaryKey(then, c); err != nil {
			return k.explainThen(err)
		}
	}
	if sub := k.subkey(pub); sub >= 0 {
		s := &k.entity.Subkeys[sub]
		if _, err := s.LatestValidBindingSignature(then, c); err == nil {
			if _, err := s.Verify(then, c); err != nil {
				return k.explainThen(err)
			}
		}
	}
	return nil
}

// maySign tells whether the key says of this part of it that it signs data.
func (k *Key) maySign(pub *packet.PublicKey, now time.Time) error {
	chosen, ok := k.entity.SigningKeyById(now, pub.KeyId, config(now))
	if !ok || fingerprintOf(chosen.PublicKey) != fingerprintOf(pub) {
		return &reasonError{text: "the key may not sign data", hint: askNewSignature}
	}
	if s := chosen.SelfSignature; s != nil && s.EmbeddedSignature != nil && weakCertificate(s.EmbeddedSignature.Hash) {
		return &reasonError{text: "the subkey is bound with a hash function that is too weak", hint: askNewKey}
	}
	return nil
}

func weakCertificate(h crypto.Hash) bool { return h == crypto.MD5 || h == crypto.RIPEMD160 }

// subkey is the index of the subkey that pub is, -1 for the primary key.
func (k *Key) subkey(pub *packet.PublicKey) int {
	for i := range k.entity.Subkeys {
		if k.entity.Subkeys[i].PublicKey == pub {
			return i
		}
	}
	return -1
}

func (k *Key) explain(err error, part string) error {
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return &reasonError{short: "expired", text: "the " + part + "key expired", hint: askNewKey}
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return &reasonError{
			short: "revoked", text: "the " + part + "key was revoked",
			hint: "remove the key with rkt trust rm, and get image, signature and key again, from the publisher",
		}
	}
	return &reasonError{short: "unusable", text: fmt.Sprintf("the %skey is not usable: %v", part, err), hint: askNewKey}
}

func (k *Key) explainThen(err error) error {
	if errors.Is(err, pgperrors.ErrKeyExpired) {
		return &reasonError{text: "the key had expired when the signature was made", hint: askNewSignature}
	}
	return k.explain(err, "")
}

// strong refuses kinds and sizes of keys.
func strong(pub *packet.PublicKey) error {
	switch pub.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		bits, err := pub.BitLength()
		if err != nil {
			return err
		}
		// A modulus of 2048 bits may begin with a zero.
		if bits < minRSABits-1 {
			return &reasonError{
				short: "too short", text: fmt.Sprintf("the RSA key has only %d bits, at least %d are needed", bits, minRSABits),
				hint: "ask the publisher to sign with a stronger key",
			}
		}
		if bits > maxRSABits {
			return &reasonError{short: "too long", text: fmt.Sprintf("the RSA key has more than %d bits", maxRSABits)}
		}
	case packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal:
		return &reasonError{
			short: "DSA", text: "keys of type DSA are not accepted",
			hint: "ask the publisher to sign with a key of type RSA, ECDSA or Ed25519",
		}
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		if curve, err := pub.Curve(); err != nil || curve == packet.CurveSecP256k1 {
			return &reasonError{short: "curve", text: "the elliptic curve of the key is not accepted", hint: askNewKey}
		}
	}
	return nil
}
