// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"strings"
	"unicode"
)

// knownNames are the names that encoding/json looks for in bundles and
// statements, which it would also find in other cases.
func knownNames() []string {
	return []string{
		"mediaType", "verificationMaterial", "publicKey", "certificate", "x509CertificateChain", "messageSignature",
		"messageDigest", "algorithm", "digest", "signature", "dsseEnvelope", "payload", "payloadType", "signatures", "sig",
		"_type", "predicateType", "subject", "name",
	}
}

// foldName is the same for all names that encoding/json takes for one.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
