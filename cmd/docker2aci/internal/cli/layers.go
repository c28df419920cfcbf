// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// writeLayers writes one ACI for each layer, base first.
func (c *conversion) writeLayers(ctx context.Context) (_ *result, err error) {
	set, err := c.store.Layers(ctx, c.id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if len(set.Sources) != len(c.record.Layers) {
		return nil, errors.New("a layer cannot be unpacked without those below it: convert the image without -nosquash")
	}
	res := &result{image: c.image, ID: c.record.ID}
	var below []appc.Dependency
	for i := range set.Sources {
		m, err := c.layerManifest(ctx, i, set.Sources[:i+1], below)
		if err != nil {
			return nil, err
		}
		name, err := c.layerName(i, m)
		if err != nil {
			return nil, err
		}
		if err := c.writeLayer(ctx, name, m, set.Sources[:i+1]); err != nil {
			return nil, fmt.Errorf("layer %s: %w", c.record.Layers[i].Digest, err)
		}
		below = append(below, appc.Dependency{ImageName: m.Name, Labels: m.Labels})
		res.ACIs = append(res.ACIs, filepath.Join(c.dir, name))
	}
	return res, nil
}

func (c *conversion) writeLayer(ctx context.Context, name string, m *appc.ImageManifest, sources []layer.Source) error {
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	return c.create(ctx, name, func(w io.Writer) error { return layer.WriteTopACI(ctx, w, data, sources) })
}

// layerManifest is the manifest of layer i: that of the image for the top one,
// a bare one for those below it.
func (c *conversion) layerManifest(ctx context.Context, i int, sources []layer.Source, below []appc.Dependency) (*appc.ImageManifest, error) {
	name, err := appc.SanitizeIdentifier(c.image.Name.String() + "-" + c.record.Layers[i].Digest)
	if err != nil {
		return nil, err
	}
	m := &appc.ImageManifest{ACKind: appc.ImageManifestKind, ACVersion: appc.ACVersion, Name: name}
	if i == len(c.record.Layers)-1 {
		top := *c.image
		m = &top
		m.Name, m.Dependencies = name, below
	} else {
		for _, l := range c.image.Labels {
			if l.Name != "version" {
				m.Labels = append(m.Labels, l)
			}
		}
	}
	if m.PathWhitelist, err = layer.VisiblePaths(ctx, sources); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// layerName names the file of layer i.
func (c *conversion) layerName(i int, m *appc.ImageManifest) (string, error) {
	hostOS, hostArch := appc.HostLabels()
	repo, tag := c.repository(), c.tag()
	if c.source.legacy {
		goos, arch := label(m, "os"), label(m, "arch")
		return flat(join(repo, tag, goos, arch, fmt.Sprint(len(c.record.Layers)-1-i))) + ".aci", nil
	}
	if host := c.annotation(annotationRegistry); host != "" {
		repo = host + "/" + repo
	}
	digest := c.record.Layers[i].Digest
	if !c.legacyNames {
		return flat(join(repo, digest, tag, hostOS, hostArch)) + ".aci", nil
	}
	if i < len(c.record.Layers)-1 {
		digest = strings.ReplaceAll(digest, ":", "-")
	}
	name := join(repo, digest, tag, hostOS, hostArch) + ".aci"
	if !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the image's name %q is no file name", repo)
	}
	return name, nil
}

func label(m *appc.ImageManifest, name string) string {
	v, _ := m.Labels.Get(name)
	return v
}
