// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"time"
)

// VisiblePaths are the absolute paths that the layers (base first) of an OCI
// image show together, in the order of Merge. The root is not among them.
func VisiblePaths(ctx context.Context, layers []Source) ([]string, error) {
	var paths []string
	err := mergeImage(ctx, layers, func(m *Merged) error {
		if m.Path != "." {
			paths = append(paths, "/"+m.Path)
		}
		return nil
	})
	return paths, err
}

// WriteTopACI writes an ACI with what the last of the layers (base first)
// supplies of what they show together; the lowest one also has the links that
// every image gets. Directories have the metadata that the layers give them together,
// so that the ACIs of all layers, rendered one over the other and cut to
// VisiblePaths, are the image. The same layers and manifest give the same bytes.
func WriteTopACI(ctx context.Context, w io.Writer, manifest []byte, layers []Source) error {
	trees := newTrees(layers)
	defer trees.close()
	tw := tar.NewWriter(w)
	if err := writeManifest(tw, manifest); err != nil {
		return err
	}
	buf := make([]byte, 128<<10)
	top := len(layers) - 1
	err := mergeImage(ctx, layers, func(m *Merged) error {
		if m.Layer != top && (top != 0 || m.Layer >= 0) {
			return nil
		}
		return writeMerged(tw, trees, m, buf)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func writeManifest(tw *tar.Writer, manifest []byte) error {
	if err := tw.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "manifest", Mode: 0o644, Size: int64(len(manifest)),
		ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}); err != nil {
		return err
	}
	_, err := tw.Write(manifest)
	return err
}

func writeMerged(tw *tar.Writer, trees *trees, m *Merged, buf []byte) error {
	if err := tw.WriteHeader(headerOf(m)); err != nil {
		return fmt.Errorf("write %q to the image: %w", m.Path, err)
	}
	if m.Type != Regular || m.Surviving != "" || m.Size == 0 {
		return nil
	}
	return trees.copyContent(tw, m, buf)
}
