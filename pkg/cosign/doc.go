// SPDX-License-Identifier: Apache-2.0

// Package cosign verifies signatures of images in registries as the program
// cosign makes them with a key pair. It talks to no registry: the caller brings
// the documents, and gets a verdict.
//
// # Words
//
// The payload is the JSON document that is signed ("simple signing"). It holds
// the digest of the image's manifest, and the identity: the reference that the signer means.
// The signature manifest is an OCI image, by convention at the tag that Tag
// returns, whose layers are payloads with their signatures as annotations.
//
// # What holds
//
//   - The payload is hashed and verified before a byte of it is interpreted.
//   - Its digest is that of the image's manifest, its identity the repository
//     that the user asked for and, as far as both have one, the same tag.
//   - Keys are ECDSA on P-256, P-384 or P-521, RSA from 2048 bits on, and Ed25519.
//   - One good signature by one trusted key is enough.
//
// Not here: certificates of Fulcio, the log Rekor, and bundles of sigstore.
//
//	key, err := cosign.ParseKey(pem)
//	entries, err := cosign.Entries(manifest)
//	by, err := cosign.Verify([]*cosign.Key{key}, payload, entries[0].Signature, cosign.Image{…})
package cosign
