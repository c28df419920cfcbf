// SPDX-License-Identifier: Apache-2.0

// Package overlay tells whether a directory can hold overlay mounts, and makes
// them with any number of lower directories the kernel accepts.
//
// An overlay shows lower directories stacked below a writable upper one; work
// is scratch space of the kernel on the file system of upper. For a pod with a
// user namespace the layers can be idmapped: they stay as they are on disk, shared
// with other pods, and the overlay shows them under the owners of the pod.
//
//	if err := overlay.Supported(dataDir); err != nil {
//		var u *overlay.UnsupportedError
//		if errors.As(err, &u) { … copy instead … }
//	}
package overlay
