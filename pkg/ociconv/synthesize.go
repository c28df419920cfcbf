// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// NewManifest makes the manifest of an image that came without one. The same
// config and layers always give the same bytes.
func NewManifest(config []byte, layers []Descriptor) ([]byte, error) {
	sum := sha256.Sum256(config)
	c := Descriptor{MediaType: dockerConfig, Size: int64(len(config)), Digest: "sha256:" + hex.EncodeToString(sum[:])}
	return newManifest(DockerManifest, c, layers)
}

// NewOCIManifest makes a manifest of the OCI.
func NewOCIManifest(config Descriptor, layers ...Descriptor) ([]byte, error) {
	return newManifest(OCIManifest, config, layers)
}

func newManifest(mediaType string, config Descriptor, layers []Descriptor) ([]byte, error) {
	type blob struct {
		MediaType string `json:"mediaType"`
		Size      int64  `json:"size"`
		Digest    string `json:"digest"`
	}
	m := struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
		Config        blob   `json:"config"`
		Layers        []blob `json:"layers"`
	}{SchemaVersion: 2, MediaType: mediaType, Config: blob{config.MediaType, config.Size, config.Digest}}
	for _, d := range layers {
		m.Layers = append(m.Layers, blob{MediaType: d.MediaType, Size: d.Size, Digest: d.Digest})
	}
	return json.Marshal(m)
}

// NewConfig makes an image config of the config of the top layer, as docker
// before 1.10 kept it, and the digests of all layers, base first.
func NewConfig(top []byte, diffIDs []string) ([]byte, error) {
	type rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	var c struct {
		Author       string          `json:"author,omitempty"`
		Created      string          `json:"created,omitempty"`
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		Config       json.RawMessage `json:"config,omitempty"`
		RootFS       rootFS          `json:"rootfs"`
	}
	if err := json.Unmarshal(top, &c); err != nil {
		return nil, fmt.Errorf("parse layer config: %w", err)
	}
	c.RootFS = rootFS{Type: "layers", DiffIDs: diffIDs}
	return json.Marshal(c)
}
