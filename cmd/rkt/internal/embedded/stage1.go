// SPDX-License-Identifier: Apache-2.0

//go:build embed_stage1

package embedded

import (
	_ "embed"
	"io"
	"strings"
)

//go:embed stage1-fly.aci
var archive string

//go:embed stage1-fly.id
var id string

// Stage1 is the embedded stage1 image.
type Stage1 struct{}

// ID is the image's ID.
func (Stage1) ID() string { return strings.TrimSpace(id) }

// Open returns the image archive.
func (Stage1) Open() io.Reader { return strings.NewReader(archive) }
