// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/tests/harness"
)

// sizes of what is installed.
func sizes(b *bench) []row {
	of := func(path string) int64 {
		fi, err := os.Stat(path)
		if err != nil {
			b.Fatalf("%v", err)
		}
		return fi.Size()
	}
	image := of(filepath.Join(harness.Checkout(b), "build", "stage1", "stage1-coreos.aci"))
	const most = 12 << 20
	return []row{
		{what: "size of stage1-coreos.aci", rkt: mib(image), peer: "-", ratio: "-", budget: mib(most), met: image <= most},
		plain("size of rkt, with its stage1 images", mib(of(harness.Program(b, "RKT_BIN", "rkt")))),
	}
}
