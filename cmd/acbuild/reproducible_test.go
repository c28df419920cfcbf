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
		"acbuild begin ./layout/rootfs",
		"acbuild set-name example.com/a",
		"acbuild copy layout/rootfs/etc /new/dir/etc",
		"acbuild copy-to-dir layout/rootfs/bin/late /opt",
		"acbuild set-exec /bin/early",
		"acbuild write a.aci",
		"acbuild write --compression=gzip:9 gzip9.aci",
		"acbuild write --compression=zstd:19 zstd.aci",
		"acbuild write --compression=none plain.aci",
		"acbuild write --format=oci-archive a.tar",
		"acbuild write --format=docker-archive docker.tar",
		"acbuild end",
		"acbuild --modify=a.aci label add version 1",
		"acbuild begin ./plain.aci",
		"acbuild write again.aci",
		"acbuild end",
	}, "a.aci", "gzip9.aci", "zstd.aci", "plain.aci", "a.tar", "docker.tar", "again.aci")
}

func TestReproducibleLayers(t *testing.T) {
	scripttest.Twice(t, nil, []string{
		"acbuild begin --build-mode=oci",
		"acbuild copy layout/rootfs/etc /new/dir/etc",
		"acbuild layer",
		"acbuild copy-to-dir layout/rootfs/bin/late /opt",
		"acbuild write a.tar",
		"acbuild end",
		"acbuild begin --build-mode=oci ./a.tar",
		"acbuild copy layout/rootfs/bin/early /new/early",
		"acbuild write b.tar",
		"acbuild end",
		"acbuild --modify-oci=b.tar env add A b",
	}, "a.tar", "b.tar")
}
