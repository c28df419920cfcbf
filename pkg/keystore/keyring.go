// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Keyring is the keys that are trusted for one image name.
type Keyring struct{ files map[Fingerprint]*keyFile }

// Keyring loads the keys for an image name. One file that does not belong where
// it is makes it fail: what it was meant to be, key or mask, is not known.
func (s *Store) Keyring(name appc.Identifier) (*Keyring, error) {
	ring, err := s.keyring(name)
	if err != nil {
		return nil, fmt.Errorf("keystore: error loading keyring: %w", err)
	}
	return ring, nil
}

func (s *Store) keyring(name appc.Identifier) (*Keyring, error) {
	chain, err := Scope(name).chain()
	if err != nil {
		return nil, err
	}
	ring := &Keyring{files: map[Fingerprint]*keyFile{}}
	for _, step := range []struct {
		level  Level
		scopes []Scope
	}{
		{System, []Scope{Root}},
		{Local, []Scope{Root}},
		{System, chain},
		{Local, chain},
	} {
		for _, scope := range step.scopes {
			if err := s.load(ring, step.level, scope); err != nil {
				return nil, err
			}
		}
	}
	return ring, nil
}

// chain is the prefixes of a name, component-wise, the shortest first.
func (s Scope) chain() ([]Scope, error) {
	if _, err := s.components(); err != nil {
		return nil, err
	}
	var chain []Scope
	for i, c := range s + "/" {
		if c == '/' {
			chain = append(chain, s[:i])
		}
	}
	return chain, nil
}

func (s *Store) load(ring *Keyring, l Level, scope Scope) error {
	if s.base(l) == "" {
		return nil
	}
	parts, err := scope.components()
	if err != nil {
		return err
	}
	// Each component is looked at, for a link on the way would lead elsewhere.
	dir := s.base(l)
	for _, part := range parts[:len(parts)-1] {
		dir = filepath.Join(dir, part)
		if _, err := readDir(dir); err != nil {
			return err
		}
	}
	files, err := dirKeys(l, scope, filepath.Join(dir, parts[len(parts)-1]))
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.keys == nil {
			delete(ring.files, f.name)
			continue
		}
		ring.files[f.name] = f
	}
	return nil
}

// Len is the number of key files.
func (r *Keyring) Len() int { return len(r.files) }

// signers are the keys, or parts of keys, that a signature says it is from.
func (r *Keyring) signers(sig *packet.Signature) []candidate {
	var list []candidate
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		f := r.files[name]
		for _, k := range f.keys.List {
			if sig.CheckKeyIdOrFingerprint(k.entity.PrimaryKey) {
				list = append(list, candidate{f, k, k.entity.PrimaryKey})
			}
			for i := range k.entity.Subkeys {
				if pub := k.entity.Subkeys[i].PublicKey; sig.CheckKeyIdOrFingerprint(pub) {
					list = append(list, candidate{f, k, pub})
				}
			}
		}
	}
	return list
}

// HasPrefixKeys tells whether any key is trusted for the name or a prefix of
// it. Root keys do not count, nor does it matter whether the keys are usable.
func (s *Store) HasPrefixKeys(name appc.Identifier) (bool, error) {
	chain, err := Scope(name).chain()
	if err != nil {
		return false, err
	}
	ring := &Keyring{files: map[Fingerprint]*keyFile{}}
	for _, l := range []Level{System, Local} {
		for _, scope := range chain {
			if err := s.load(ring, l, scope); err != nil {
				return false, fmt.Errorf("keystore: error loading keyring: %w", err)
			}
		}
	}
	return len(ring.files) > 0, nil
}

// Covers tells whether a key of this scope is trusted for an image name.
func (s Scope) Covers(name appc.Identifier) bool {
	return s == Root || string(s) == string(name) || strings.HasPrefix(string(name), string(s)+"/")
}
