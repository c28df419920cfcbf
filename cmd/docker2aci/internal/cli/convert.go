// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/cmd/internal/fetchstore"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/store/imagestore"
)

func run(ctx context.Context, d *Deps, o *options, image string) error {
	if err := o.check(image); err != nil {
		return err
	}
	out, err := convert(ctx, d, o, image)
	var several *severalError
	switch {
	case errors.As(err, &several):
		return err
	case err != nil:
		return fmt.Errorf("conversion error: %w", err)
	}
	return out.print(d, o)
}

// conversion is one image on its way.
type conversion struct {
	*options
	store  *imagestore.Store
	source source
	id     appc.ImageID
	record *imagestore.Record
	image  *appc.ImageManifest // of the whole image
}

func convert(ctx context.Context, d *Deps, o *options, image string) (_ *result, err error) {
	temp, err := os.MkdirTemp("", "docker2aci-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	store, err := imagestore.Open(ctx, filepath.Join(temp, "cas"), imagestore.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c := &conversion{options: o, store: store}
	if c.source, err = find(ctx, o, image, temp); err != nil {
		return nil, err
	}
	if err := c.fetch(ctx, d); err != nil {
		return nil, err
	}
	if o.noSquash {
		return c.writeLayers(ctx)
	}
	return c.writeSquashed(ctx)
}

func (c *conversion) fetch(ctx context.Context, d *Deps) error {
	f := &fetch.Fetcher{
		Store:    fetchstore.New(c.store),
		Insecure: fetch.Insecure{Image: true, TLS: c.skipVerify, HTTP: c.allowHTTP},
		Stderr:   d.Stderr, Progress: "auto", Debug: c.debug,
		Platform: c.platform, UserAgent: "docker2aci/" + version, Getenv: d.Getenv, CertDirs: fetch.SystemCertDirs(),
	}
	if err := f.CheckCredentials(); err != nil {
		return fmt.Errorf("error reading .dockercfg file: %w", err)
	}
	var err error
	if c.id, err = f.Fetch(ctx, c.source.image, fetch.ImageOptions{}); err != nil {
		return err
	}
	if c.record, err = c.store.Record(c.id); err != nil {
		return err
	}
	c.image, err = c.store.Manifest(c.id)
	return err
}

func (c *conversion) writeSquashed(ctx context.Context) (*result, error) {
	name := c.squashedName()
	err := c.create(ctx, name, func(w io.Writer) error { return c.store.WriteACI(ctx, c.id, w) })
	if err != nil {
		return nil, err
	}
	return &result{image: c.image, ID: c.record.ID, ACIs: []string{filepath.Join(c.dir, name)}}, nil
}
