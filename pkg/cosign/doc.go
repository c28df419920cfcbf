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
// A bundle is one JSON document with a signature inside, what cosign 3 makes. It
// is of the manifest, or of a statement of in-toto in a DSSE envelope whose subject
// is the manifest and whose predicate is that of "cosign sign". Such a statement
// does not name the repository.
//
// Not here: certificates of Fulcio and the log Rekor. Entries of the log in a
// bundle are not looked at, and no bundle with a certificate is accepted.
//
//	key, err := cosign.ParseKey(pem)
//	entries, err := cosign.Entries(manifest)
//	by, err := cosign.Verify([]*cosign.Key{key}, payload, entries[0].Signature, cosign.Image{…})
package cosign
