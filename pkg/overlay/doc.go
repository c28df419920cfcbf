// SPDX-License-Identifier: Apache-2.0

// Package overlay tells whether a directory can hold overlay mounts, and makes
// them with any number of lower directories the kernel accepts.
//
// An overlay shows lower directories stacked below a writable upper one; work
// is scratch space of the kernel on the file system of upper.
//
//	if err := overlay.Supported(dataDir); err != nil {
//		var u *overlay.UnsupportedError
//		if errors.As(err, &u) { … copy instead … }
//	}
package overlay
