// SPDX-License-Identifier: Apache-2.0

// Package treestore keeps images unpacked, ready to run.
//
// # Words
//
//   - A tree is a directory below CAS/tree with rootfs/, hash and the marker
//     rendered; the tree of an image also has manifest and image (its key).
//   - The tree of an image is called deps-sha512-…, after the keys of the image and of the images
//     it depends on; the tree of an OCI layer is called layer-<algorithm>-<diff ID>.
//   - An ACI is one tree. An OCI image is its own tree, which has only what must lie on
//     top, over the trees of its layers: the chain of lower directories of an overlay.
//   - The index of a tree says what lstat(2) must find in it; hash is its digest.
//     It lies outside of the tree, in CAS/treeinfo, with a note of size and layers.
//   - A draft is a tree under construction, in CAS/unpack.
//
// # Invariants
//
// A draft is flushed to disk before it is renamed into CAS/tree, so every tree
// there is complete. A damaged tree is never repaired in place, as running
// pods may have it mounted: a new one takes its name in one rename
// (RENAME_EXCHANGE) and the old one waits in CAS/unpack until no pod refers to the
// name. Removing a tree deletes its marker first.
//
// Everything here belongs to root; opening a Store as anyone else touches
// nothing of it, and only the methods that need trees fail.
//
// # Locks
//
// CAS/treestorelocks/<id>: shared while a tree is in use or being made, exclusive
// and without waiting to remove it. CAS/treestorelocks/<id>.place, inside of the
// former: exclusive to put a tree into its place, shared to compare it with its
// index. The directory CAS/unpack: shared while a draft is made and locked, exclusive
// while leftovers are looked for. A draft itself is locked by its maker.
// The locks of package imagestore on digests come before, those on images after these.
//
// # Failpoints
//
// render.sealed, render.flushed, render.index, render.placed, render.aside; of garbage collection
// image-gc.tree-marker, image-gc.tree-moved, image-gc.tree, image-gc.unpack.
package treestore
