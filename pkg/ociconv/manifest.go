// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/rkt/rkt/v2/pkg/layer"
)

// Caps of what is read into memory.
const (
	MaxManifest = 4 << 20
	MaxConfig   = 8 << 20

	maxLayers = 1000
)

// ErrArtifact is returned for manifests that are not those of an image.
var ErrArtifact = errors.New("not a container image")

// ErrNoLayers is returned for an image without layers.
var ErrNoLayers = errors.New("backend image had no useful layers: not creating ACI")

// Descriptor refers to a blob.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
	Platform     *Platform         `json:"platform"`
	ArtifactType string            `json:"artifactType"`
}

// RefNameAnnotation is the annotation with the name of an image in a layout.
const RefNameAnnotation = "org.opencontainers.image.ref.name"

// RefName is the name an image layout gives the descriptor.
func (d Descriptor) RefName() string { return d.Annotations[RefNameAnnotation] }

// Manifest is an image manifest.
type Manifest struct {
	MediaType    string       `json:"mediaType"`
	ArtifactType string       `json:"artifactType"`
	Config       Descriptor   `json:"config"`
	LayerBlobs   []Descriptor `json:"layers"`
}

// Index is an OCI index or docker manifest list.
type Index struct {
	MediaType    string       `json:"mediaType"`
	ArtifactType string       `json:"artifactType"`
	Manifests    []Descriptor `json:"manifests"`
}

// digestPattern is compiled when first used: most calls of rkt do not need it.
var digestPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$`)
})

// CheckDigest refuses digests of unknown algorithms or form.
func CheckDigest(digest string) error {
	if !digestPattern().MatchString(digest) {
		return fmt.Errorf("unsupported digest %q (want sha256 or sha512 with lower-case hexadecimal digits)", digest)
	}
	return nil
}

func (d Descriptor) check(maxSize int64) error {
	if err := CheckDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 || maxSize > 0 && d.Size > maxSize {
		return fmt.Errorf("%s: size %d is out of range", d.Digest, d.Size)
	}
	return nil
}

// DocumentType says what a document is: the media type of its transport, or,
// if that says nothing (some registries send text/plain), its own field or its content.
func DocumentType(data []byte, mediaType string) string {
	if IsIndex(mediaType) || IsManifest(mediaType) || isSchema1(mediaType) {
		return baseType(mediaType)
	}
	var d struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
	}
	if json.Unmarshal(data, &d) != nil {
		return baseType(mediaType)
	}
	switch {
	case d.MediaType != "":
		return d.MediaType
	case d.SchemaVersion == 1:
		return dockerSchema1
	case d.Manifests != nil:
		return OCIIndex
	case d.Config != nil:
		return OCIManifest
	}
	return baseType(mediaType)
}

// ParseIndex parses an index.
func ParseIndex(data []byte) (*Index, error) {
	if len(data) > MaxManifest {
		return nil, fmt.Errorf("image index is larger than %d bytes", MaxManifest)
	}
	var index Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("parse image index: %w", err)
	}
	for _, d := range index.Manifests {
		if err := d.check(0); err != nil {
			return nil, fmt.Errorf("image index: %w", err)
		}
	}
	return &index, nil
}

// ParseManifest parses the manifest of an image. The error wraps ErrArtifact
// if it is a manifest of something else.
func ParseManifest(data []byte, mediaType string) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, fmt.Errorf("image manifest is larger than %d bytes", MaxManifest)
	}
	kind := DocumentType(data, mediaType)
	if isSchema1(kind) {
		return nil, fmt.Errorf("image manifest of type %s is not supported: the image was made by a docker older than 1.10 and has to be pushed again", kind)
	}
	if !IsManifest(kind) {
		return nil, fmt.Errorf("unsupported manifest type %q", kind)
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("parse image manifest: %w", err)
	}
	if err := m.checkKind(); err != nil {
		return nil, err
	}
	return &m, m.check()
}

func (m *Manifest) checkKind() error {
	if m.MediaType != "" && !IsManifest(m.MediaType) {
		return fmt.Errorf("image manifest says that it is of type %q", m.MediaType)
	}
	if m.ArtifactType != "" && !isConfig(m.ArtifactType) {
		return fmt.Errorf("%w but an artifact of type %q", ErrArtifact, m.ArtifactType)
	}
	if !isConfig(m.Config.MediaType) {
		return fmt.Errorf("%w: its config has the type %q", ErrArtifact, m.Config.MediaType)
	}
	return nil
}

func (m *Manifest) check() error {
	if err := m.Config.check(MaxConfig); err != nil {
		return fmt.Errorf("image manifest: config: %w", err)
	}
	if len(m.LayerBlobs) == 0 {
		return ErrNoLayers
	}
	if len(m.LayerBlobs) > maxLayers {
		return fmt.Errorf("image manifest has %d layers, more than the limit of %d", len(m.LayerBlobs), maxLayers)
	}
	for i, d := range m.LayerBlobs {
		if err := d.check(0); err != nil {
			return fmt.Errorf("image manifest: layer %d: %w", i, err)
		}
		if !IsLayer(d.MediaType) {
			return fmt.Errorf("%w: layer %d has the type %q", ErrArtifact, i, d.MediaType)
		}
	}
	return nil
}

// Layers pairs the blobs of the manifest with the config's digests of their
// uncompressed content.
func (m *Manifest) Layers(c *Config) ([]layer.Descriptor, error) {
	if len(c.DiffIDs) != len(m.LayerBlobs) {
		return nil, fmt.Errorf("image manifest has %d layers but the config has %d", len(m.LayerBlobs), len(c.DiffIDs))
	}
	layers := make([]layer.Descriptor, len(m.LayerBlobs))
	for i, d := range m.LayerBlobs {
		layers[i] = layer.Descriptor{Digest: d.Digest, DiffID: c.DiffIDs[i], Size: d.Size, MediaType: d.MediaType}
	}
	return layers, nil
}
