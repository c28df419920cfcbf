// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rkt/rkt/v2/cmd/internal/scripttest"
)

// The same image makes the same bytes, wherever, whenever and with whatever umask.
func TestReproducible(t *testing.T) {
	fill := func(dir string) {
		for name, files := range newImage().archives() {
			must(os.WriteFile(filepath.Join(dir, name), pack(files), 0o644))
		}
	}
	scripttest.Twice(t, fill, []string{
		"docker2aci saved.tar",
		"docker2aci -o zstd -compression=zstd:3 oci.tar",
		"docker2aci -o plain -compression=none old.tar",
		"docker2aci -o layers -nosquash saved.tar",
	}, "redis-7.aci", "zstd/oci-7.aci", "plain/redis-7.aci")
}
