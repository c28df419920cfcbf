// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// PackOptions say how PackTree writes.
type PackOptions struct {
	// Shift is subtracted from every owner and group; those outside of
	// Shift … Shift+Count-1 are errors. Without Count nothing is shifted.
	Shift, Count uint32
	// Skip, if set, tells which names to leave out with all below them. A name
	// is relative to the root file system: "dev/console".
	Skip func(name string) bool
	// ModTime is the time of the manifest's entry.
	ModTime time.Time
}

// PackTree writes an uncompressed archive of the manifest, as it is, and the
// directory rootfs in lexical order, all metadata as on disk. It stays on the
// file system of rootfs: a directory on which something is mounted becomes an
// empty one, a file on which something is mounted is left out, as are sockets.
// Extended attributes security.capability and user.* of files and directories are kept, hard links stay
// links, holes stay holes.
func PackTree(ctx context.Context, w io.Writer, rootfs string, manifest []byte, o PackOptions) error {
	root, err := os.Open(rootfs)
	if err != nil {
		return err
	}
	err = packTree(ctx, w, root, manifest, o)
	return errors.Join(err, root.Close())
}

func packTree(ctx context.Context, w io.Writer, root *os.File, manifest []byte, o PackOptions) error {
	aw := NewWriter(w)
	if err := aw.WriteManifest(manifest, o.ModTime); err != nil {
		return err
	}
	if err := aw.addTree(ctx, root, treeOptions{shift: o.Shift, count: o.Count, skip: o.Skip}); err != nil {
		return err
	}
	return aw.Close()
}
