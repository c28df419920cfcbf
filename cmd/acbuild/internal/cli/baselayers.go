// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/cmd/acbuild/internal/layerdiff"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// keepLayers takes the layers of an image, which is unpacked in rootfs, as
// they are for the lower ones of an OCI build: who has the image has them.
func (b *build) keepLayers(ctx context.Context, images *imagestore.Store, id appc.ImageID, rootfs string) (err error) {
	content, err := images.Content(ctx, id)
	if errors.Is(err, imagestore.ErrNotOCI) { // an ACI has none
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	dir := b.path(layersDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var l layers
	for i, d := range content.Record.Layers {
		in, err := content.Open(d)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("base-%d", i)
		kind, err := copyBlob(ctx, filepath.Join(dir, name), in)
		if err := errors.Join(err, in.Close()); err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		blob := ociDescriptor{MediaType: layerType(kind), Digest: d.Digest, Size: d.Size}
		l.List = append(l.List, lowerLayer{File: name, Blob: &blob, DiffID: d.DiffID})
	}
	// The tree on disk, not what the layers say of it, is what is compared
	// later: who is not root has other owners there.
	var now layerdiff.Snapshot
	err = readTree(ctx, filepath.Dir(rootfs), aci.BuildOptions{}, func(r io.Reader) (err error) {
		now, err = layerdiff.Take(r)
		return err
	})
	if err != nil {
		return err
	}
	return l.commit(dir, now)
}

// copyBlob copies a layer and tells how it is compressed.
func copyBlob(ctx context.Context, path string, in io.Reader) (compression.Type, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	r := bufio.NewReaderSize(ctxReader{ctx, in}, compression.HeadSize)
	head, err := r.Peek(compression.HeadSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err == nil {
		_, err = io.Copy(f, r)
	}
	return compression.Detect(head), errors.Join(err, f.Close())
}
