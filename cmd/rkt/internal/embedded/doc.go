// SPDX-License-Identifier: Apache-2.0

// Package embedded holds the stage1 image that is part of the binary, so that
// one file copied to a bare host runs pods.
//
// The image is built before rkt is: make puts stage1-fly.aci and stage1-fly.id,
// a text file with the image's ID, into this directory and builds with the tag
// embed_stage1. Without the tag there is no image, and plain "go build" works
// in a fresh clone.
//
// The ID stands beside the image so that a run only has to ask the store for
// it instead of reading the archive.
package embedded
