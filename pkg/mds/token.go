// SPDX-License-Identifier: Apache-2.0

package mds

import (
	"crypto/rand"
	"encoding/hex"
)

// NewToken makes the token of a pod: 32 hex digits.
func NewToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:])
}

// MaxToken is the length of the longest token that is accepted.
const MaxToken = 128

// ValidToken tells whether s can be a token: one word that needs no quoting in
// a URL. Others than rkt may make longer or shorter ones.
func ValidToken(s string) bool {
	if s == "" || len(s) > MaxToken {
		return false
	}
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
