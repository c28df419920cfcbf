// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bytes"
	"fmt"
	"io"
)

// Caps of what comes from outside.
const (
	// MaxFile is the size of the largest file with keys or signatures that is read.
	MaxFile = 1 << 20

	maxBlocks     = 64   // of armor in one file
	maxPackets    = 4096 // of one file with keys
	maxKeys       = 64   // of one file
	maxSubkeys    = 64   // of one key
	maxSignatures = 32   // of one signature file
	maxKeyFiles   = 4096 // of one look-up
	maxRSABits    = 16384
	minRSABits    = 2048
)

// readCapped reads all of r, which may not be larger than MaxFile.
func readCapped(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if n > MaxFile {
		return nil, fmt.Errorf("larger than the limit of %d bytes", MaxFile)
	}
	return b.Bytes(), nil
}
