// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociarchive"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// withOCI gives fn an image of the store as registries have it: an OCI image as
// it was received, an ACI as one layer.
func withOCI(ctx context.Context, store *imagestore.Store, id appc.ImageID, fn func(*ociarchive.Image) error) error {
	content, err := store.Content(ctx, id)
	if errors.Is(err, imagestore.ErrNotOCI) {
		return withACI(ctx, store, id, fn)
	}
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	m, err := store.Manifest(id)
	if err != nil {
		return err
	}
	image, err := imageOf(content)
	if err != nil {
		return err
	}
	image.Reference = imageReference(m)
	return fn(image)
}

func imageOf(c *imagestore.Content) (*ociarchive.Image, error) {
	mediaType := ociconv.DocumentType(c.RawManifest, "")
	m, err := ociconv.ParseManifest(c.RawManifest, mediaType)
	if err != nil {
		return nil, err
	}
	config, err := ociconv.ParseConfig(c.RawConfig)
	if err != nil {
		return nil, err
	}
	image := &ociarchive.Image{
		Manifest: ociarchive.Bytes(mediaType, c.RawManifest),
		Config:   ociarchive.Bytes(m.Config.MediaType, c.RawConfig),
		Platform: ociconv.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant},
	}
	// They may have digests of another algorithm.
	image.Manifest.Digest, image.Config.Digest = c.Record.ManifestDigest, m.Config.Digest
	layers, err := m.Layers(config)
	if err != nil {
		return nil, err
	}
	for _, d := range layers {
		image.Layers = append(image.Layers, ociarchive.Blob{
			MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
			Open: func() (io.ReadCloser, error) { return c.Open(d) },
		})
	}
	return image, nil
}

// imageReference is NAME:TAG as docker writes it, empty for an image without a version.
func imageReference(m *appc.ImageManifest) string {
	version, ok := m.Labels.Get("version")
	if !ok {
		return ""
	}
	text := m.Name.String() + ":" + version
	// The name is made of this, which may have been the ref or the name of a file alone.
	typed, _ := m.Annotations.Get("appc.io/docker/originalname")
	if _, ok := m.Annotations.Get("appc.io/docker/registryurl"); ok || strings.ContainsAny(typed, ":/") {
		text = typed
	}
	d, err := distribution.ParseReference(text)
	if err != nil || d.Digest != "" {
		return ""
	}
	if d.Tag == "latest" {
		return d.String() + ":latest"
	}
	return d.String()
}

// withACI makes the layer in a temporary file.
func withACI(ctx context.Context, store *imagestore.Store, id appc.ImageID, fn func(*ociarchive.Image) error) error {
	m, err := store.Manifest(id)
	if err != nil {
		return err
	}
	layer, err := os.CreateTemp(store.TempDir(), "layer-*")
	if err != nil {
		return err
	}
	defer func() { _ = layer.Close() }()
	if err := os.Remove(layer.Name()); err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := store.WriteACI(ctx, id, w)
		_ = w.CloseWithError(err)
		written <- err
	}()
	image, err := ociarchive.FromACI(m, r, layer)
	_ = r.CloseWithError(err) // ends WriteACI
	if werr := <-written; err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	image.Reference = imageReference(m)
	return fn(image)
}
