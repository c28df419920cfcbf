// SPDX-License-Identifier: Apache-2.0

package ociarchive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteLayout writes an image as an OCI image layout to the existing empty
// directory dir. What was written is worth nothing if it fails.
func WriteLayout(dir string, i *Image) error {
	index, err := i.index(OCI)
	if err != nil {
		return err
	}
	for _, b := range i.blobs() {
		if err := writeBlob(filepath.Join(dir, filepath.FromSlash(blobPath(b.Digest))), b); err != nil {
			return fmt.Errorf("blob %s: %w", b.Digest, err)
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(layoutText), 0o644))
}

func writeBlob(path string, b Blob) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := b.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	if err == nil && n != b.Size {
		err = fmt.Errorf("%d bytes expected but %d found", b.Size, n)
	}
	return errors.Join(err, out.Sync(), out.Close())
}
