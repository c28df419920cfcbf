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
