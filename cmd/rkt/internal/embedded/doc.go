// SPDX-License-Identifier: Apache-2.0

// Package embedded holds the stage1 images that are part of the binary, so that
// one file copied to a bare host runs pods.
//
// The images are built before rkt is: make puts stage1-FLAVOR.aci and
// stage1-FLAVOR.id, a text file with the image's ID, into this directory and
// builds with the tag embed_stage1. Without the tag there is no image, and
// plain "go build" works in a fresh clone.
//
// The ID stands beside the image so that a run only has to ask the store for
// it instead of reading the archive.
//
// The version of the images is that of rkt. The flavor host is not here: it
// serves distributions, which install its file.
package embedded
