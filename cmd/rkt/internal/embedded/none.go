// SPDX-License-Identifier: Apache-2.0

//go:build !embed_stage1

package embedded

// Images are the embedded images: none in this build.
func Images() []Image { return nil }
