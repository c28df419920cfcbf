// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Types of armor.
const (
	armorKey       = "PGP PUBLIC KEY BLOCK"
	armorSecretKey = "PGP PRIVATE KEY BLOCK"
	armorSignature = "PGP SIGNATURE"
)

// armorHead is how armor begins; no packet does.
var armorHead = []byte("-----BEGIN PGP ")

// dearmor returns the packets in data: those of all its blocks of armor, which
// have to be of one kind, or data itself if there is no armor.
func dearmor(data []byte, kind string) ([]byte, error) {
	if !bytes.Contains(data, armorHead) {
		return data, nil
	}
	in := bufio.NewReader(bytes.NewReader(data))
	var out bytes.Buffer
	for n := 0; ; n++ {
		block, err := armor.Decode(in)
		if errors.Is(err, io.EOF) && n > 0 {
			return out.Bytes(), nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, errors.New("armor is not complete")
		case err != nil:
			return nil, fmt.Errorf("armor: %w", err)
		case n == maxBlocks:
			return nil, fmt.Errorf("more than %d blocks of armor", maxBlocks)
		case block.Type != kind:
			return nil, &kindError{got: block.Type, want: kind}
		}
		if _, err := out.ReadFrom(block.Body); err != nil {
			return nil, fmt.Errorf("armor: %w", err)
		}
	}
}

// kindError is armor around something else.
type kindError struct{ got, want string }

func (e *kindError) Error() string { return fmt.Sprintf("%q expected but %q found", e.want, e.got) }

// splitPackets returns the packets in data, unparsed. Only those for which
// allowed is true may be there.
func splitPackets(data []byte, limit int, allowed func(tag uint8) bool) ([]*packet.OpaquePacket, error) {
	in := packet.NewOpaqueReader(bytes.NewReader(data))
	var list []*packet.OpaquePacket
	for {
		p, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		case !allowed(p.Tag):
			return nil, &packetError{p.Tag}
		case len(list) == limit:
			return nil, fmt.Errorf("more than %d packets", limit)
		case p.Tag == tagSignature && nestedTooDeep(p.Contents, 1):
			return nil, errors.New("signatures nested too deeply")
		}
		list = append(list, p)
	}
}

// packetError is a packet that does not belong into the file.
type packetError struct{ tag uint8 }

func (e *packetError) Error() string {
	return fmt.Sprintf("unexpected OpenPGP packet of type %d", e.tag)
}

// Tags of packets.
const (
	tagSignature = 2
	tagSecretKey = 5
	tagPublicKey = 6
	tagSecretSub = 7
	tagMarker    = 10
	tagTrust     = 12
	tagUserID    = 13
	tagPublicSub = 14
	tagAttribute = 17
	tagPadding   = 21
)

// subEmbedded is the type of a subpacket that holds a signature.
const subEmbedded = 32

// nestedTooDeep tells whether a signature holds a signature that holds one. There
// is no use for it, and the parser's work grows with the square of the depth.
func nestedTooDeep(signature []byte, depth int) bool {
	for _, area := range subpacketAreas(signature) {
		subs, _ := packet.OpaqueSubpackets(area) // those before one that is broken
		for _, s := range subs {
			if s.SubType&0x7f == subEmbedded && (depth == 0 || nestedTooDeep(s.Contents, depth-1)) {
				return true
			}
		}
	}
	return false
}

// subpacketAreas are the hashed and the other subpackets of a signature, as far as they are there.
func subpacketAreas(signature []byte) [][]byte {
	if len(signature) < 4 {
		return nil
	}
	width := 2
	if signature[0] == 6 {
		width = 4
	}
	rest := signature[4:]
	var areas [][]byte
	for range 2 {
		if len(rest) < width {
			return areas
		}
		n := 0
		for _, b := range rest[:width] {
			n = n<<8 | int(b)
		}
		rest = rest[width:]
		n = min(n, len(rest))
		areas = append(areas, rest[:n])
		rest = rest[n:]
	}
	return areas
}
