// SPDX-License-Identifier: Apache-2.0

// Package entry lists the programs of the stage1 images by the names they are
// called by: one static binary with a link for each.
package entry
