// SPDX-License-Identifier: Apache-2.0

//go:build embed_stage1

package embedded

import (
	_ "embed"
	"strings"
)

var (
	//go:embed stage1-coreos.aci
	coreos string
	//go:embed stage1-coreos.id
	coreosID string

	//go:embed stage1-fly.aci
	fly string
	//go:embed stage1-fly.id
	flyID string
)

// Images are the embedded images.
func Images() []Image {
	return []Image{
		{Name: "coreos.com/rkt/stage1-coreos", ID: strings.TrimSpace(coreosID), Archive: coreos},
		{Name: "coreos.com/rkt/stage1-fly", ID: strings.TrimSpace(flyID), Archive: fly},
	}
}
