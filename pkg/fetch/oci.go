// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/progress"
)

// blobs is where the parts of an image come from: a registry, a directory or
// an archive.
type blobs interface {
	open(ctx context.Context, d ociconv.Descriptor, offset int64) (io.ReadCloser, error)
}

// readBlob reads a small blob and checks its digest and size. A negative size
// is one that nobody stated.
func readBlob(ctx context.Context, b blobs, d ociconv.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("%s: size %d is larger than the limit of %d", d.Digest, d.Size, limit)
	}
	in, err := b.open(ctx, d, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	defer in.Close()
	data, err := readCapped(in, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	if d.Size >= 0 && int64(len(data)) != d.Size {
		return nil, fmt.Errorf("%s: %d bytes expected but %d found", d.Digest, d.Size, len(data))
	}
	return data, checkDigest(d.Digest, data)
}

func checkDigest(want string, data []byte) error {
	if err := ociconv.CheckDigest(want); err != nil {
		return err
	}
	algorithm, _, _ := strings.Cut(want, ":")
	if got := digestOf(algorithm, data); got != want {
		return &digestError{Want: want, Got: got}
	}
	return nil
}

// manifests gets the documents that an index names.
type manifests func(ctx context.Context, d ociconv.Descriptor) ([]byte, error)

// choose follows indexes to the descriptor of one manifest. start is the
// document the image was named by; the result is start itself if that is a
// manifest, otherwise it has not been read yet.
func (r *run) choose(ctx context.Context, start document, get manifests) (ociconv.Descriptor, *document, error) {
	doc := start
	for depth := 0; ociconv.IsIndex(doc.mediaType); depth++ {
		if depth == maxIndexDepth {
			return ociconv.Descriptor{}, nil, fmt.Errorf("image indexes are nested deeper than %d", maxIndexDepth)
		}
		index, err := ociconv.ParseIndex(doc.data)
		if err != nil {
			return ociconv.Descriptor{}, nil, err
		}
		d, err := index.Choose(r.Platform)
		if err != nil {
			return ociconv.Descriptor{}, nil, err
		}
		if !ociconv.IsIndex(d.MediaType) {
			return d, nil, nil
		}
		data, err := get(ctx, d)
		if err != nil {
			return ociconv.Descriptor{}, nil, err
		}
		doc = document{data: data, mediaType: d.MediaType, digest: d.Digest}
	}
	d := ociconv.Descriptor{MediaType: doc.mediaType, Digest: doc.digest, Size: int64(len(doc.data))}
	return d, &doc, nil
}

// importImage stores the image of one manifest.
type importImage struct {
	*run
	from     blobs
	start    *document // what was asked for, of local files; nil: the manifest
	manifest document
	config   []byte // nil: to be read
	origin   ociconv.Origin
	latest   bool
	remote   *Remote
	verified *Verification
}

func (i *importImage) do(ctx context.Context) (appc.ImageID, error) {
	m, err := ociconv.ParseManifest(i.manifest.data, i.manifest.mediaType)
	if err != nil {
		return "", err
	}
	if i.config == nil {
		if i.config, err = readBlob(ctx, i.from, m.Config, ociconv.MaxConfig); err != nil {
			return "", fmt.Errorf("image config: %w", err)
		}
	}
	config, err := ociconv.ParseConfig(i.config)
	if err != nil {
		return "", err
	}
	layers, err := m.Layers(config)
	if err != nil {
		return "", err
	}
	i.origin.ManifestDigest = i.manifest.digest
	image, warnings, err := ociconv.ImageManifest(config, i.origin, layers[len(layers)-1].Digest)
	if err != nil {
		return "", err
	}
	for _, w := range warnings {
		i.message("warning: %s", w)
	}
	return i.store(ctx, OCIImage{
		Manifest: image, RawManifest: i.manifest.data, RawConfig: i.config,
		ManifestDigest: i.manifest.digest, Layers: layers, Latest: i.latest, Remote: i.remote, Verified: i.verified,
	})
}

func (i *importImage) store(ctx context.Context, image OCIImage) (id appc.ImageID, err error) {
	to, err := i.Store.BeginOCI(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := to.Close(); err == nil {
			err = cerr
		}
	}()
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(i.concurrent())
	seen := make(map[string]layer.Descriptor, len(image.Layers))
	for _, d := range image.Layers {
		if old, ok := seen[d.Digest]; ok {
			if old != d {
				return "", fmt.Errorf("layer %s is listed with two sizes or contents", d.Digest)
			}
			continue
		}
		seen[d.Digest] = d
		group.Go(func() error { return i.layer(gctx, to, d) })
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return to.Commit(ctx, image)
}

func (r *run) concurrent() int {
	if r.MaxConcurrent > 0 {
		return r.MaxConcurrent
	}
	return defaultConcurrent
}

// layer stores one layer. Its bar starts when its first byte is asked for: the
// store may have the layer, or another process may bring it.
func (i *importImage) layer(ctx context.Context, to OCIImport, d layer.Descriptor) error {
	if err := ctx.Err(); err != nil {
		return err // another layer failed
	}
	var bar *progress.Bar
	defer func() { bar.Done() }()
	blob := ociconv.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	err := to.PutLayer(ctx, d, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		in, err := i.from.open(ctx, blob, offset)
		if err != nil {
			return nil, err
		}
		if bar == nil {
			bar = i.display.Bar(progress.Options{Name: d.Digest, Total: d.Size, Layer: true})
		}
		bar.Set(offset)
		return readCloser{bar.Reader(in), in}, nil
	})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx) // the signal, say
	}
	// The store says which layer it is, too, where it failed itself.
	if err != nil && !strings.HasPrefix(err.Error(), "layer "+d.Digest) {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	return err
}

type readCloser struct {
	io.Reader
	io.Closer
}
