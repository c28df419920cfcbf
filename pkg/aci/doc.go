// SPDX-License-Identifier: Apache-2.0

// Package aci reads and writes image archives (ACI): a tar with exactly two
// top-level names, the file manifest and the directory rootfs, compressed
// as a whole or not.
//
// # Words
//
// A layout is a directory with the same two names, from which an archive is
// built. An entry is one header of the tar with its data. Names are entry names
// after path cleaning, without a leading slash.
//
// # Invariants
//
// Everything is a stream: no function here keeps an archive in memory or needs a
// temporary file. Archives are taken for hostile: sizes and counts have caps, nothing is
// written to disk. Trees are taken for hostile too: they are walked
// by descriptor and links are never followed. Equal trees give equal archives.
//
//	m, err := aci.Validate(file)
//
// validates an archive in any compression that package compression reads.
package aci
