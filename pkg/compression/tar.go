// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"bytes"
	"strconv"
)

// blockSize is the size of a tar header.
const blockSize = 512

// IsTar tells whether head begins an uncompressed tar archive: the ustar magic
// is there, or the checksum of a header as it was before POSIX (v7) is right,
// or the first block is all zero, which is an archive without entries.
func IsTar(head []byte) bool {
	if len(head) < blockSize {
		return false
	}
	head = head[:blockSize]
	if bytes.Equal(head[257:262], []byte("ustar")) || len(bytes.Trim(head, "\x00")) == 0 {
		return true
	}
	return head[0] != 0 && IsTarHeader(head)
}

// IsTarHeader tells whether the 512 bytes of head have the checksum of a tar
// header: the sum of all bytes, its own field taken as blanks. Old programs summed
// signed bytes.
func IsTarHeader(head []byte) bool {
	field := string(bytes.Trim(head[148:156], " \x00"))
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil {
		return false
	}
	var unsigned, signed int64
	for i, c := range head {
		if 148 <= i && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}
