// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// ACVersion is the version of the specification that this package
	// implements and that new manifests carry.
	ACVersion = "0.8.11"
	// ImageManifestKind is the acKind of image manifests.
	ImageManifestKind = "ImageManifest"
	// PodManifestKind is the acKind of pod manifests.
	PodManifestKind = "PodManifest"
)

// ImageManifest describes an image.
type ImageManifest struct {
	ACKind        string       `json:"acKind"`
	ACVersion     string       `json:"acVersion"`
	Name          Identifier   `json:"name"`
	Labels        Labels       `json:"labels,omitempty"`
	App           *App         `json:"app,omitempty"`
	Annotations   Annotations  `json:"annotations,omitempty"`
	Dependencies  []Dependency `json:"dependencies,omitempty"`
	PathWhitelist []string     `json:"pathWhitelist,omitempty"`
}

// Dependency is an image below this one.
type Dependency struct {
	ImageName Identifier `json:"imageName"`
	ImageID   *ImageID   `json:"imageID,omitempty"`
	Labels    Labels     `json:"labels,omitempty"`
	Size      uint64     `json:"size,omitempty"`
}

// ParseImageManifest parses and validates an image manifest. Faults are *Error.
func ParseImageManifest(data []byte) (*ImageManifest, error) {
	var m ImageManifest
	if err := decode(data, &m); err != nil {
		return nil, err
	}
	if m.App != nil {
		m.App.setDefaults()
	}
	if err := m.Validate(); err != nil {
		return nil, withPosition(data, err)
	}
	return &m, nil
}

// Marshal returns the canonical compact form. It fails if m is not valid.
func (m *ImageManifest) Marshal() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return encode(m)
}

// Validate checks m as ParseImageManifest does.
func (m *ImageManifest) Validate() error {
	if m.ACKind != ImageManifestKind {
		return at("acKind", fmt.Errorf("must be %q, not %q", ImageManifestKind, m.ACKind))
	}
	if err := validateACVersion(m.ACVersion); err != nil {
		return at("acVersion", err)
	}
	if m.Name == "" {
		return at("name", errors.New("name must be set"))
	}
	if err := m.Name.validate(); err != nil {
		return at("name", err)
	}
	if err := m.Labels.validate(); err != nil {
		return at("labels", err)
	}
	if m.App != nil {
		if err := m.App.validate(); err != nil {
			return at("app", err)
		}
	}
	if err := m.Annotations.validate(); err != nil {
		return at("annotations", err)
	}
	for i, d := range m.Dependencies {
		if err := d.validate(); err != nil {
			return at("dependencies"+index(i), err)
		}
	}
	for i, p := range m.PathWhitelist {
		if !strings.HasPrefix(p, "/") {
			return at("pathWhitelist"+index(i), fmt.Errorf("path %q must be absolute", p))
		}
	}
	return nil
}

func (d Dependency) validate() error {
	if d.ImageName == "" {
		return at("imageName", errors.New("imageName must be set"))
	}
	if err := d.ImageName.validate(); err != nil {
		return at("imageName", err)
	}
	if d.ImageID != nil {
		if err := d.ImageID.validate(); err != nil {
			return at("imageID", err)
		}
	}
	return at("labels", d.Labels.validate())
}
