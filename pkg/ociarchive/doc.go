// SPDX-License-Identifier: Apache-2.0

// Package ociarchive writes images as archives: an OCI image layout in a tar,
// or what "docker save" writes, which is such a layout with a manifest.json
// beside it.
//
// Manifest, config and layers are written as they are, so the digest of the manifest stays. The
// same image always gives the same bytes.
//
// An ACI has no layers; FromACI makes one of it.
package ociarchive
