// SPDX-License-Identifier: Apache-2.0

//go:build !embed_stage1

package embedded

import (
	"io"
	"strings"
)

// Stage1 is the embedded stage1 image: none in this build.
type Stage1 struct{}

// ID is empty, which says that there is no image.
func (Stage1) ID() string { return "" }

// Open returns an empty stream.
func (Stage1) Open() io.Reader { return strings.NewReader("") }
