// SPDX-License-Identifier: Apache-2.0

// Package compression recognises how a stream is compressed and reads it,
// without external programs: gzip (several members, eStargz), bzip2, xz, zstd (skippable
// frames, zstd:chunked) and uncompressed.
//
// # Invariants
//
// Memory is bounded whatever the stream says: windows and dictionaries larger
// than [MaxWindow] are refused, nothing is allocated for sizes that a header only
// claims. How much comes out is not bounded here; whoever reads an untrusted
// stream counts (see package layer). A reader never closes what it reads from.
//
//	r, kind, err := compression.NewReader(file)
//	if err != nil {
//		return err
//	}
//	defer r.Close()
package compression
