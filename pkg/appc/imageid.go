// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	imageIDPrefix = "sha512-"
	fullIDLen     = len(imageIDPrefix) + 128
	keyLen        = len(imageIDPrefix) + 64
	shortIDLen    = len(imageIDPrefix) + 12
)

// ErrImageID is what ParseImageID returns for text that is no image ID.
var ErrImageID = errors.New("not an image ID (want sha512-<hexadecimal digits>)")

// ImageID is "sha512-" and lower-case hexadecimal digits of the SHA-512 of an
// image's uncompressed archive: 128 digits for the full ID, 64 for the key,
// fewer for an abbreviation. The zero value means unset.
type ImageID string

// ParseImageID accepts full IDs, keys and abbreviations of at least one digit.
func ParseImageID(s string) (ImageID, error) {
	id := ImageID(s)
	if err := id.validate(); err != nil {
		return "", err
	}
	return id, nil
}

// ImageIDFromSum returns the full ID for a SHA-512 sum. It panics if sum does
// not have the length of one.
func ImageIDFromSum(sum []byte) ImageID {
	if len(sum) != 64 {
		panic(fmt.Sprintf("appc: a SHA-512 sum has 64 bytes, not %d", len(sum)))
	}
	return ImageID(imageIDPrefix + hex.EncodeToString(sum))
}

// String returns the ID as text.
func (id ImageID) String() string { return string(id) }

// IsFull tells whether all 128 digits are there.
func (id ImageID) IsFull() bool { return len(id) == fullIDLen }

// Key returns the 71 characters under which stores and manifests know the
// image. An abbreviation is returned as it is.
func (id ImageID) Key() ImageID { return id[:min(len(id), keyLen)] }

// Short returns the form of lists: 12 digits.
func (id ImageID) Short() string { return string(id[:min(len(id), shortIDLen)]) }

// HasPrefix tells whether abbreviation could stand for id, comparing no more
// than their keys.
func (id ImageID) HasPrefix(abbreviation ImageID) bool {
	return strings.HasPrefix(string(id.Key()), string(abbreviation.Key()))
}

func (id ImageID) validate() error {
	digits, ok := strings.CutPrefix(string(id), imageIDPrefix)
	if !ok || digits == "" || len(id) > fullIDLen || strings.Trim(digits, "0123456789abcdef") != "" {
		return fmt.Errorf("%q: %w", string(id), ErrImageID)
	}
	return nil
}
