// SPDX-License-Identifier: Apache-2.0

// Package keystore keeps the keys that may sign images, and verifies
// signatures with them.
//
// # Words
//
// A key is an OpenPGP public key with its subkeys. It is trusted for a prefix
// of image names, compared by path component, or as a root key for all images.
// A level is one of two directories: that of the system, which packages fill, and the
// local one, which `rkt trust` writes. A mask is an empty file that takes away
// a key of the same fingerprint that was loaded before it.
//
// # Files
//
//	<level>/trustedkeys/root.d/<fingerprint>
//	<level>/trustedkeys/prefix.d/<prefix, one directory per path component>/<fingerprint>
//
// A file holds armored public keys and is named by the fingerprint of the
// first, in lower-case hex. Files whose name begins with a dot are ignored:
// they are being written. Anything else that does not belong here is an error, because a
// misspelled mask must not leave its key trusted.
//
// # What holds
//
//   - One signature by one trusted key is enough, however many others a file has.
//
//   - The key, and the subkey that signed, are valid now and were valid when the
//     signature was made.
//
//   - The data are hashed as they pass, once per hash function; they are never held in memory.
//
//   - Keys and signatures are read only up to the caps in limits.go, and only if made of
//     the packets that belong there: nothing is ever decompressed or decrypted.
//
//     sigs, err := keystore.ReadSignatures(file)
//     digest := sigs.Begin()
//     _, err = io.Copy(digest, archive)
//     ring, err := store.Keyring(name)
//     verified, err := digest.Verify(ring, time.Now())
package keystore
