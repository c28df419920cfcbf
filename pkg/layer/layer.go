// SPDX-License-Identifier: Apache-2.0

package layer

import "fmt"

// Descriptor names one layer of an OCI image. Digests are "sha256:<hex>".
type Descriptor struct {
	Digest    string `json:"digest"`    // of the bytes as transferred
	DiffID    string `json:"diffID"`    // of the uncompressed tar
	Size      int64  `json:"size"`      // bytes as transferred
	MediaType string `json:"mediaType"` // as the manifest says
}

// Source is one unpacked layer: the tree's root directory and its index file.
type Source struct {
	Root  string
	Index string
}

// Limits bound what unpacking one archive may cost. Zero fields mean "none".
type Limits struct {
	Entries   int64 // tar entries
	Bytes     int64 // sum of the files' apparent sizes
	Path      int   // bytes of one name
	Manifest  int64 // bytes of an ACI's manifest
	XattrSize int   // bytes of the extended attributes of one entry
}

// DefaultLimits is the one table of caps for archives (design: "every size
// that comes from outside has a cap").
func DefaultLimits() Limits {
	return Limits{
		Entries:   1_000_000,
		Bytes:     128 << 30,
		Path:      4095,
		Manifest:  4 << 20,
		XattrSize: 64 << 10,
	}
}

// LimitError is returned when an archive exceeds one of its Limits.
type LimitError struct {
	What string // "entries", "bytes unpacked", …
	Max  int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("archive has more %s than the limit of %d", e.What, e.Max)
}

// ChangedError tells that a tree is not as its index describes it.
type ChangedError struct {
	Path string // below the root of the tree
	What string // "missing", "added", "size", "content", …
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("tree was modified: %q: %s", e.Path, e.What)
}
