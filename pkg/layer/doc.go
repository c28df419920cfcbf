// SPDX-License-Identifier: Apache-2.0

// Package layer turns the tar of one image layer into a directory and back.
//
// Words:
//
//   - A layer is one tar: an OCI layer with whiteouts, or the rootfs part of an
//     ACI, which has none.
//   - A tree is the directory a layer was unpacked into. It has the form an
//     overlayfs lower directory needs: a whiteout is a character device 0:0, an
//     opaque directory carries trusted.overlay.opaque=y.
//   - The index of a tree lists its entries with everything lstat(2) and the
//     extended attributes say, sorted by path component. It is made by walking
//     the finished tree, so it describes what is on disk, not what a header
//     claimed. A directory no header spoke of is marked implicit.
//   - The merge of several trees is what overlayfs would show of them, except
//     that an implicit directory never hides the metadata of an explicit one
//     below it. It is computed by reading the indexes side by side: memory does
//     not grow with the image.
//
// From the merge come the canonical ACI (WriteACI), whose SHA-512 is the image
// ID, the fix-ups tree that makes an overlay show exactly the merge (WriteTop),
// and plain copies (CopyMerged).
//
// Hostile archives: every path is resolved below the tree by openat2(2) with
// RESOLVE_IN_ROOT, files are created with O_EXCL and never opened for writing
// afterwards, and Limits bound what one archive may cost.
//
// Source: spec images.md 9.5, 9.7, 10.6, 10.9, 12; OCI image-spec layer.md.
package layer
