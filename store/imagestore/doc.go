// SPDX-License-Identifier: Apache-2.0

// Package imagestore keeps images: what was received, verified, and a record
// of each image, found by image ID, by name and labels, or by URL.
//
// # Words
//
//   - The key of an image is the first half of its image ID. Files are named by it.
//   - A record is the JSON file that makes an image exist; its modification time is when
//     the image was last used. Records are the truth.
//   - The index is a QL database over the records. It is opened for each transaction,
//     under an exclusive flock on its directory, and rebuilt from the records whenever it
//     is missing, torn or wrong.
//   - A blob is bytes as they were received: an ACI, a layer, an OCI manifest or config.
//   - The tree sink is where unpacked layers go. Without one (an
//     unprivileged user) images are stored and identified, but not unpacked.
//
// # Files below the CAS directory
//
//	blob/sha512/<2>/<key>            an ACI, plain or compressed
//	blob/<algorithm>/<2>/<hex>       OCI blobs
//	imageManifest/sha512/<2>/<key>   image manifest
//	image/sha512/<2>/<key>           record
//	db/ql.db                         index; db/broken-<n> unusable ones, moved aside
//	db-backups/<n>                   index directories of rkt 1, 0 is the newest
//	tmp/, tmp/blobs/                 downloads, partial blobs, scratch
//	imagelocks/                      lock files
//
// # Invariants
//
// Import writes blobs, manifest, record, row, in this order, each on disk
// before the next: a record always has its blobs and its manifest. Remove
// unlinks the record (from then on the image is gone), the manifest, the blobs
// nobody else refers to, and the row last, so that after a kill at any step
// the same command finds the row and finishes. Readers skip rows without record.
//
// # Locks
//
// In this order, outermost first:
//
//  1. the CAS directory, shared while a Store is open, exclusive to take over a store of rkt 1;
//  2. imagelocks/<digest>.download, exclusive while a blob is fetched and unpacked;
//  3. imagelocks/<digest>, shared from before a blob is looked for until the record
//     that refers to it is written, exclusive and without waiting to delete the blob;
//  4. the locks of the tree sink;
//  5. imagelocks/<key>, shared to read, exclusive to import or remove an image;
//  6. the directory db, exclusive for a transaction.
//
// Who fetches a blob waits for nothing but the source of its bytes while
// holding a lock of kind 2, so fetchers of images with the same layers in
// different order cannot block each other for ever.
//
// # Failpoints
//
// Import: fetch.blob-partial, fetch.blob-flushed, fetch.blob-renamed,
// fetch.tree-placed, fetch.oci-meta, fetch.manifest, fetch.flushed,
// fetch.record, fetch.row. Refresh of cache data: fetch.remote-record, fetch.remote-row.
// Remove: image-rm.record, image-rm.manifest, image-rm.blob, image-rm.blobs,
// image-rm.row. Garbage collection: image-gc.tmp, image-gc.blob, image-gc.manifest,
// image-gc.row, image-gc.lock. Index: fetch.index-aside, fetch.index-rebuilt, fetch.index-migrated.
package imagestore
