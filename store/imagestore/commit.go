// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// Commit verifies that the image fits together, computes its ID and makes it
// exist. Layers that were not put are taken from the store.
func (im *OCIImport) Commit(ctx context.Context, img OCIImage) (appc.ImageID, error) {
	c := &commit{im: im, s: im.s, img: img}
	if err := c.check(); err != nil {
		return "", err
	}
	for _, d := range img.Layers {
		if err := im.PutLayer(ctx, d, nil); err != nil {
			return "", err
		}
	}
	im.work.Wait()
	if im.err != nil {
		return "", im.err
	}
	id, err := c.run(ctx)
	if err != nil {
		return "", fmt.Errorf("error importing image: %w", err)
	}
	return id, nil
}

// commit is one Commit.
type commit struct {
	im  *OCIImport
	s   *Store
	img OCIImage

	manifestDigest digest
	configDigest   digest
	sources        []layer.Source
	flat           string // chain ID of a flat image
	treeSize       int64
	data           []byte // appc manifest
	id             appc.ImageID
	size           int64
}

// rawManifest is what this package reads of an OCI or docker manifest.
type rawManifest struct {
	Config rawDescriptor   `json:"config"`
	Layers []rawDescriptor `json:"layers"`
}

type rawDescriptor struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// check verifies everything that can be known without the layers' content.
func (c *commit) check() error {
	config, err := sumOf(c.img.RawConfig)
	if err != nil {
		return fmt.Errorf("image config: %w", err)
	}
	c.configDigest = config
	if err := c.checkConfig(); err != nil {
		return err
	}
	if c.img.RawManifest == nil {
		return nil
	}
	return c.checkManifest()
}

// sumOf is the SHA-256 digest of data.
func sumOf(data []byte) (digest, error) {
	if data == nil {
		return digest{}, errors.New("missing")
	}
	d := digest{algorithm: "sha256"}
	h := d.newHash()
	_, _ = h.Write(data) // a hash never fails
	d.hex = fmt.Sprintf("%x", h.Sum(nil))
	return d, nil
}

// checkConfig compares the config's diff IDs with those of the layers.
func (c *commit) checkConfig() error {
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(c.img.RawConfig, &config); err != nil {
		return fmt.Errorf("parse image config %s: %w", c.configDigest, err)
	}
	ids := config.RootFS.DiffIDs
	if len(ids) != len(c.img.Layers) {
		return fmt.Errorf("image config %s has %d diff IDs, but there are %d layers", c.configDigest, len(ids), len(c.img.Layers))
	}
	for i, l := range c.img.Layers {
		if l.DiffID != ids[i] {
			return fmt.Errorf("layer %s has diff ID %s, but the image config says %s", l.Digest, l.DiffID, ids[i])
		}
	}
	return nil
}

// checkManifest compares the manifest with its digest, the config and the layers.
func (c *commit) checkManifest() error {
	d, err := parseDigest(c.img.ManifestDigest)
	if err != nil {
		return fmt.Errorf("image manifest: %w", err)
	}
	h := d.newHash()
	_, _ = h.Write(c.img.RawManifest) // a hash never fails
	if err := d.check("image manifest", h); err != nil {
		return err
	}
	c.manifestDigest = d
	var m rawManifest
	if err := json.Unmarshal(c.img.RawManifest, &m); err != nil {
		return fmt.Errorf("parse image manifest %s: %w", d, err)
	}
	if err := c.checkConfigDigest(m.Config.Digest); err != nil {
		return err
	}
	if len(m.Layers) != len(c.img.Layers) {
		return fmt.Errorf("image manifest %s has %d layers, not %d", d, len(m.Layers), len(c.img.Layers))
	}
	for i, l := range c.img.Layers {
		if m.Layers[i].Digest != l.Digest || l.Size >= 0 && m.Layers[i].Size != l.Size {
			return fmt.Errorf("image manifest %s has layer %s of %d bytes where %s of %d bytes was put",
				d, m.Layers[i].Digest, m.Layers[i].Size, l.Digest, l.Size)
		}
	}
	return nil
}

// checkConfigDigest verifies the config against the manifest, and stores it
// under the digest that names.
func (c *commit) checkConfigDigest(want string) error {
	d, err := parseDigest(want)
	if err != nil {
		return fmt.Errorf("image config: %w", err)
	}
	h := d.newHash()
	_, _ = h.Write(c.img.RawConfig) // a hash never fails
	c.configDigest = d
	return d.check("image config", h)
}

func (c *commit) run(ctx context.Context) (id appc.ImageID, err error) {
	if c.data, err = c.img.Manifest.Marshal(); err != nil {
		return "", err
	}
	top, err := c.compose(ctx)
	if err != nil {
		return "", err
	}
	if top != nil {
		defer func() { err = errors.Join(err, top.draft.Discard()) }()
	}
	h := newHashing(sha512.New())
	err = layer.WriteACI(ctx, h, c.data, c.sources)
	sum, size := h.sum()
	if err != nil {
		return "", fmt.Errorf("compute image ID: %w", err)
	}
	c.id, c.size = appc.ImageIDFromSum(sum), size
	if err := c.blobs(ctx); err != nil {
		return "", err
	}
	return c.id, c.finish(ctx, top)
}

// collect finds the layers, which Commit has put.
func (c *commit) collect() error {
	counted := map[digest]bool{}
	for _, d := range c.img.Layers {
		b, err := specOf(d)
		if err != nil {
			return err
		}
		h := c.im.layer(layerID{b.digest, b.diffID})
		if h == nil {
			return fmt.Errorf("layer %s was not stored", b.digest)
		}
		if h.ref == nil {
			c.sources = append(c.sources, h.source)
			continue
		}
		c.sources = append(c.sources, h.ref.Source)
		if !counted[b.diffID] {
			c.treeSize += h.ref.Size
			counted[b.diffID] = true
		}
	}
	return nil
}

// topTree is the tree that lies on top of the layers.
type topTree struct {
	draft Draft
	res   *layer.Result
}

func (c *commit) startTop(ctx context.Context) (*topTree, error) {
	if c.s.trees == nil {
		return nil, nil
	}
	draft, err := c.s.trees.Draft(ctx)
	if err != nil {
		return nil, err
	}
	res, err := layer.WriteTop(ctx, draft.Rootfs(), c.sources)
	if err != nil {
		return nil, errors.Join(err, draft.Discard())
	}
	return &topTree{draft, res}, nil
}

// blobs stores manifest and config; finish flushes them.
func (c *commit) blobs(ctx context.Context) error {
	put := map[digest][]byte{c.configDigest: c.img.RawConfig}
	if c.img.RawManifest != nil {
		put[c.manifestDigest] = c.img.RawManifest
	}
	for d, data := range put {
		if err := c.im.hold(ctx, d); err != nil {
			return err
		}
		path := c.s.blobPath(d)
		if err := inShard(path, func() error { return atomicfile.WriteNoSync(path, data, fileMode) }); err != nil {
			return err
		}
	}
	return failpoint.Hit("fetch.oci-meta")
}

// finish makes the image exist: manifest, tree, record, row.
func (c *commit) finish(ctx context.Context, top *topTree) error {
	key := c.id.Key()
	l, err := c.s.keyLock(ctx, string(key), lock.Exclusive)
	if err != nil {
		return fmt.Errorf("error locking image: %w", err)
	}
	defer func() { _ = l.Close() }()
	rec := c.s.existing(key)
	if rec == nil {
		rec = &Record{Version: recordVersion, Kind: OCI}
	}
	if rec.Kind == OCI {
		rec.Layers, rec.ConfigDigest, rec.ManifestDigest = c.img.Layers, c.configDigest.String(), ""
		rec.Flat = c.flat
		if c.img.RawManifest != nil {
			rec.ManifestDigest = c.manifestDigest.String()
		}
	}
	rec.ID, rec.Name, rec.Labels, rec.Size = c.id, c.img.Manifest.Name, c.img.Manifest.Labels, c.size
	if c.img.Verified != nil {
		rec.Verified = c.img.Verified
	}
	if err := c.s.writeManifest(key, c.data); err != nil {
		return err
	}
	if top != nil && rec.Kind == OCI {
		if err := c.placeTop(ctx, top, key); err != nil {
			return err
		}
	}
	if err := c.im.flush.flush(); err != nil {
		return err
	}
	if err := failpoint.Hit("fetch.flushed"); err != nil {
		return err
	}
	remote := c.img.Remote
	if remote != nil {
		r := *remote
		r.ManifestDigest = c.img.ManifestDigest
		remote = &r
	}
	return c.s.register(ctx, rec, registration{latest: c.img.Latest, remote: remote, treeSize: c.treeSize})
}

func (c *commit) placeTop(ctx context.Context, top *topTree, key appc.ImageID) error {
	t := Tree{Image: key, Manifest: c.data, Layers: (&Record{Layers: c.img.Layers, Flat: c.flat}).TreeLayers()}
	if err := top.draft.Seal(ctx, t, top.res); err != nil {
		return err
	}
	if err := c.im.flush.flush(); err != nil {
		return err
	}
	size, err := c.s.placeDraft(ctx, top.draft)
	c.treeSize += size
	return err
}
