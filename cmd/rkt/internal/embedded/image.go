// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"io"
	"path"
	"strings"
)

// Image is a stage1 image that is part of the binary.
type Image struct {
	Name    string // image name
	ID      string // key of the image
	Archive string // compressed
}

// File is the file name of the image where it is installed.
func (i Image) File() string { return path.Base(i.Name) + ".aci" }

// Open returns the image archive.
func (i Image) Open() io.Reader { return strings.NewReader(i.Archive) }
