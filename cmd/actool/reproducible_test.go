// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/rkt/rkt/v2/cmd/internal/scripttest"
)

// The same commands on the same files make the same bytes, wherever, whenever
// and with whatever umask.
func TestReproducible(t *testing.T) {
	scripttest.Twice(t, nil, []string{
		"actool build layout a.aci",
		"actool build --owner-root --compression=gzip:1 layout root.aci",
		"actool build --compression=zstd layout zstd.aci",
		"actool patch-manifest --exec=/bin/early --user=0 --group=0 a.aci patched.aci",
		"actool patch-manifest --replace --name=example.com/b zstd.aci",
		"actool convert a.aci a.tar",
		"actool convert --to=docker-archive a.aci docker.tar",
	}, "a.aci", "root.aci", "zstd.aci", "patched.aci", "a.tar", "docker.tar")
}
