// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"strings"
)

// Faults of AC identifiers and AC names.
var (
	ErrEmptyIdentifier       = errors.New("ACIdentifier cannot be empty")
	ErrInvalidEdgeIdentifier = errors.New("ACIdentifier must start and end with only lower case alphanumeric characters")
	ErrInvalidCharIdentifier = errors.New(`ACIdentifier must contain only lower case alphanumeric characters plus "-._~/"`)

	ErrEmptyName       = errors.New("ACName cannot be empty")
	ErrInvalidEdgeName = errors.New("ACName must start and end with only lower case alphanumeric characters")
	ErrInvalidCharName = errors.New(`ACName must contain only lower case alphanumeric characters plus "-"`)
)

// Identifier is an AC identifier: lower case letters, digits and "-._~/",
// with a letter or digit at both ends. It names images, labels, annotations
// and isolators. The zero value means unset.
type Identifier string

// NewIdentifier returns s as an Identifier if it is a valid one.
func NewIdentifier(s string) (Identifier, error) {
	i := Identifier(s)
	return i, i.validate()
}

// SanitizeIdentifier makes an identifier of s: lower case, "_" for each other
// character, edges trimmed. It fails if nothing is left.
func SanitizeIdentifier(s string) (Identifier, error) {
	return NewIdentifier(sanitize(s, '_', isIdentifierChar))
}

// String returns the identifier as text.
func (i Identifier) String() string { return string(i) }

func (i Identifier) validate() error {
	switch {
	case i == "":
		return ErrEmptyIdentifier
	case strings.ContainsFunc(string(i), func(r rune) bool { return !isIdentifierChar(r) }):
		return ErrInvalidCharIdentifier
	case !hasAlphanumericEdges(string(i)):
		return ErrInvalidEdgeIdentifier
	}
	return nil
}

// Name is an AC name: lower case letters, digits and "-", with a letter or
// digit at both ends. It names apps, volumes, mount points and ports. The zero
// value means unset.
type Name string

// NewName returns s as a Name if it is a valid one.
func NewName(s string) (Name, error) {
	n := Name(s)
	return n, n.validate()
}

// SanitizeName makes a name of s: lower case, "-" for each other character,
// edges trimmed. It fails if nothing is left.
func SanitizeName(s string) (Name, error) {
	return NewName(sanitize(s, '-', isNameChar))
}

// String returns the name as text.
func (n Name) String() string { return string(n) }

func (n Name) validate() error {
	switch {
	case n == "":
		return ErrEmptyName
	case strings.ContainsFunc(string(n), func(r rune) bool { return !isNameChar(r) }):
		return ErrInvalidCharName
	case !hasAlphanumericEdges(string(n)):
		return ErrInvalidEdgeName
	}
	return nil
}

func sanitize(s string, replacement rune, valid func(rune) bool) string {
	s = strings.Map(func(r rune) rune {
		if valid(r) {
			return r
		}
		return replacement
	}, strings.ToLower(s))
	return strings.TrimFunc(s, func(r rune) bool { return !isAlphanumeric(r) })
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
}

func isNameChar(r rune) bool { return isAlphanumeric(r) || r == '-' }

func isIdentifierChar(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("-._~/", r)
}

func hasAlphanumericEdges(s string) bool {
	return isAlphanumeric(rune(s[0])) && isAlphanumeric(rune(s[len(s)-1]))
}
