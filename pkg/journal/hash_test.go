// SPDX-License-Identifier: Apache-2.0

package journal

import "testing"

// The test vector of the SipHash paper, appendix A, and prefixes of its input
// from the reference implementation.
func TestKeyedHash(t *testing.T) {
	var key [16]byte
	data := make([]byte, 16)
	for i := range key {
		key[i], data[i] = byte(i), byte(i)
	}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := keyedHash(&key, data[:n]); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}

// The vectors that lookup3.c prints about itself.
func TestPlainHash(t *testing.T) {
	for in, want := range map[string]uint64{
		"":                               0xdeadbeefdeadbeef,
		"Four score and seven years ago": 0x17770551ce7226e6,
	} {
		if got := plainHash([]byte(in)); got != want {
			t.Errorf("%q: %#x, want %#x", in, got, want)
		}
	}
}
