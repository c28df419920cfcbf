// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/rkt/rkt/v2/pkg/hint"
)

// Fingerprint names a key: 40 or, for version 6, 64 digits of lower-case hex.
// The zero value means unset.
type Fingerprint string

var fingerprintPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// ParseFingerprint accepts any case, and spaces between the digits.
func ParseFingerprint(s string) (Fingerprint, error) {
	digits := strings.ToLower(strings.TrimPrefix(strings.Join(strings.Fields(s), ""), "0x"))
	if !fingerprintPattern.MatchString(digits) {
		return "", fmt.Errorf("%q is not a fingerprint (40 or 64 hexadecimal digits)", s)
	}
	return Fingerprint(digits), nil
}

// Pretty is the form for people: upper case, in groups, with a wider space in the middle.
func (f Fingerprint) Pretty() string {
	var groups []string
	for group := range slices.Chunk([]byte(strings.ToUpper(string(f))), 4) {
		groups = append(groups, string(group))
	}
	half := len(groups) / 2
	return strings.Join(groups[:half], " ") + "  " + strings.Join(groups[half:], " ")
}

// KeyID is the short form that signatures use.
func (f Fingerprint) KeyID() string {
	switch len(f) {
	case 40:
		return strings.ToUpper(string(f[24:]))
	case 64:
		return strings.ToUpper(string(f[:16]))
	}
	return ""
}

// Key is one public key with its subkeys.
type Key struct{ entity *openpgp.Entity }

// Keys are the keys of one file, at least one. The file is known by the first.
type Keys struct {
	List []*Key
	raw  []byte // packets
}

// ReadKeys reads armored or binary public keys.
func ReadKeys(r io.Reader) (*Keys, error) {
	data, err := readCapped(r)
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}

func parseKeys(data []byte) (*Keys, error) {
	raw, err := dearmor(data, armorKey)
	if err == nil {
		_, err = splitPackets(raw, maxPackets, isKeyPacket)
	}
	if err != nil {
		return nil, explainSecret(fmt.Errorf("not an OpenPGP public key: %w", err))
	}
	entities, err := openpgp.ReadKeyRing(bytes.NewReader(raw))
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a usable OpenPGP public key: %w", err)
	case len(entities) == 0:
		return nil, errors.New("no OpenPGP public key found")
	case len(entities) > maxKeys:
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	keys := &Keys{raw: raw}
	for _, e := range entities {
		if len(e.Subkeys) > maxSubkeys {
			return nil, fmt.Errorf("key %s has more than %d subkeys", e.PrimaryKey.KeyIdString(), maxSubkeys)
		}
		keys.List = append(keys.List, &Key{e})
	}
	return keys, nil
}

func isKeyPacket(tag uint8) bool {
	switch tag {
	case tagPublicKey, tagPublicSub, tagUserID, tagAttribute, tagSignature, tagTrust, tagMarker, tagPadding:
		return true
	}
	return false
}

// explainSecret says what to do about the most likely mistake.
func explainSecret(err error) error {
	var kind *kindError
	var unexpected *packetError
	if errors.As(err, &kind) && kind.got == armorSecretKey ||
		errors.As(err, &unexpected) && (unexpected.tag == tagSecretKey || unexpected.tag == tagSecretSub) {
		return hint.With(err, "this is a secret key, which should be in nobody's hands but its owner's: "+
			"take the public one, as written by gpg --armor --export")
	}
	return err
}

// Fingerprint is that of the first key.
func (k *Keys) Fingerprint() Fingerprint { return k.List[0].Fingerprint() }

// Armored is the form in which keys are stored.
func (k *Keys) Armored() ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, armorKey, nil)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(k.raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	if b.Len() > MaxFile {
		return nil, fmt.Errorf("larger than the limit of %d bytes", MaxFile)
	}
	return b.Bytes(), nil
}

func fingerprintOf(pk *packet.PublicKey) Fingerprint {
	return Fingerprint(hex.EncodeToString(pk.Fingerprint))
}

// Fingerprint is that of the primary key.
func (k *Key) Fingerprint() Fingerprint { return fingerprintOf(k.entity.PrimaryKey) }

// Subkeys are the fingerprints of the subkeys.
func (k *Key) Subkeys() []Fingerprint {
	var list []Fingerprint
	for i := range k.entity.Subkeys {
		list = append(list, fingerprintOf(k.entity.Subkeys[i].PublicKey))
	}
	return list
}

// Identities are the user IDs, sorted, on one line each and without what
// could disturb a terminal. Nothing vouches for them but the key itself.
func (k *Key) Identities() []string {
	var list []string
	for name := range k.entity.Identities {
		list = append(list, printable(name))
	}
	slices.Sort(list)
	return list
}

const maxIdentity = 200 // characters that are shown

func printable(s string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
	if len(runes) > maxIdentity {
		runes = append(runes[:maxIdentity], '…')
	}
	return string(runes)
}

// Created is when the primary key was made.
func (k *Key) Created() time.Time { return k.entity.PrimaryKey.CreationTime }

// Valid is the status of a key whose signatures are accepted.
const Valid = "valid"

// Status is Valid, or why no signature of the key is accepted at the time.
func (k *Key) Status(now time.Time) string {
	err := k.usable(k.entity.PrimaryKey, now)
	if err == nil {
		err = k.canSign(now)
	}
	var refused *reasonError
	switch {
	case err == nil:
		return Valid
	case errors.As(err, &refused):
		return refused.short
	}
	return err.Error()
}

// canSign tells whether the primary key or any subkey may sign now.
func (k *Key) canSign(now time.Time) error {
	if _, ok := k.entity.SigningKey(now, config(now)); !ok {
		return &reasonError{short: "cannot sign", text: "no part of the key may sign"}
	}
	return nil
}
