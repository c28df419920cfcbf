// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// digest is a parsed OCI digest: an algorithm this store can check and
// lower-case hex digits of the right number. The zero value means unset.
type digest struct{ algorithm, hex string }

// parseDigest checks "sha256:<hex>" or "sha512:<hex>".
func parseDigest(s string) (digest, error) {
	algorithm, digits, ok := strings.Cut(s, ":")
	if !ok {
		return digest{}, fmt.Errorf("invalid digest %q", s)
	}
	d := digest{algorithm, digits}
	h := d.newHash()
	if h == nil {
		return digest{}, fmt.Errorf("digest %q: unknown algorithm", s)
	}
	if len(digits) != 2*h.Size() || strings.ToLower(digits) != digits {
		return digest{}, fmt.Errorf("invalid digest %q", s)
	}
	if _, err := hex.DecodeString(digits); err != nil {
		return digest{}, fmt.Errorf("invalid digest %q", s)
	}
	return d, nil
}

func (d digest) String() string { return d.algorithm + ":" + d.hex }

// lockKey names the lock and the partial file of a blob.
func (d digest) lockKey() string {
	if d.algorithm == "sha256" {
		return d.hex
	}
	return d.algorithm + "." + d.hex
}

// newHash is nil for an unknown algorithm.
func (d digest) newHash() hash.Hash {
	switch d.algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// check compares the digest with what h has seen.
func (d digest) check(what string, h hash.Hash) error {
	if got := hex.EncodeToString(h.Sum(nil)); got != d.hex {
		return &DigestError{What: what, Got: d.algorithm + ":" + got, Want: d.String()}
	}
	return nil
}

// DigestError tells that bytes are not those that were asked for.
type DigestError struct{ What, Got, Want string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s does not match its digest (%s != %s)", e.What, e.Got, e.Want)
}
