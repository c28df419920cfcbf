// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"net"
)

// PodManifest describes a pod.
type PodManifest struct {
	ACVersion       string            `json:"acVersion"`
	ACKind          string            `json:"acKind"`
	Apps            []RuntimeApp      `json:"apps"`
	Volumes         []Volume          `json:"volumes"`
	Isolators       []Isolator        `json:"isolators"`
	Annotations     Annotations       `json:"annotations"`
	Ports           []ExposedPort     `json:"ports"`
	UserAnnotations map[string]string `json:"userAnnotations,omitempty"`
	UserLabels      map[string]string `json:"userLabels,omitempty"`
}

// RuntimeApp is an app of a pod.
type RuntimeApp struct {
	Name           Name         `json:"name"`
	Image          RuntimeImage `json:"image"`
	App            *App         `json:"app,omitempty"`
	ReadOnlyRootFS bool         `json:"readOnlyRootFS,omitempty"`
	Mounts         []Mount      `json:"mounts,omitempty"`
	Annotations    Annotations  `json:"annotations,omitempty"`
}

// RuntimeImage is the image of a runtime app. The ID may be abbreviated, and
// unset in a manifest that a person wrote; Name may be nil.
type RuntimeImage struct {
	Name   *Identifier `json:"name,omitempty"`
	ID     ImageID     `json:"id"`
	Labels Labels      `json:"labels,omitempty"`
}

// Mount pairs a volume with a path in an app. AppVolume, if set, is used
// instead of the pod's volume of that name.
type Mount struct {
	Volume    Name    `json:"volume"`
	Path      string  `json:"path"`
	AppVolume *Volume `json:"appVolume,omitempty"`
}

// ExposedPort forwards a port of the host to a port of the pod. An unset
// HostIP means every address.
type ExposedPort struct {
	Name     Name   `json:"name"`
	HostPort uint   `json:"hostPort"`
	HostIP   string `json:"hostIP,omitempty"`
	PodPort  *Port  `json:"podPort,omitempty"`
}

// ParsePodManifest parses and validates a pod manifest. Faults are *Error.
// That image IDs are set, stored and unambiguous, that app names are unique and
// that ports and mounts find their other end is for the caller to check.
func ParsePodManifest(data []byte) (*PodManifest, error) {
	var m PodManifest
	if err := decode(data, &m); err != nil {
		return nil, err
	}
	m.setDefaults()
	if err := m.Validate(); err != nil {
		return nil, withPosition(data, err)
	}
	return &m, nil
}

// Marshal returns the canonical compact form. It fails if m is not valid.
func (m *PodManifest) Marshal() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return encode(m)
}

func (m *PodManifest) setDefaults() {
	for _, a := range m.Apps {
		if a.App != nil {
			a.App.setDefaults()
		}
	}
	for _, p := range m.Ports {
		if p.PodPort != nil {
			p.PodPort.setDefaults()
		}
	}
}

// Validate checks m as ParsePodManifest does.
func (m *PodManifest) Validate() error {
	if m.ACKind != PodManifestKind {
		return at("acKind", fmt.Errorf("must be %q, not %q", PodManifestKind, m.ACKind))
	}
	if err := validateACVersion(m.ACVersion); err != nil {
		return at("acVersion", err)
	}
	for i := range m.Apps {
		if err := m.Apps[i].validate(); err != nil {
			return at("apps"+index(i), err)
		}
	}
	if err := validateVolumes(m.Volumes); err != nil {
		return at("volumes", err)
	}
	if err := Isolators(m.Isolators).validate(); err != nil {
		return at("isolators", err)
	}
	if err := m.Annotations.validate(); err != nil {
		return at("annotations", err)
	}
	for i, p := range m.Ports {
		if err := p.validate(); err != nil {
			return at("ports"+index(i), err)
		}
	}
	return nil
}

func (a *RuntimeApp) validate() error {
	if err := a.Name.validate(); err != nil {
		return at("name", err)
	}
	if err := a.Image.validate(); err != nil {
		return at("image", err)
	}
	if a.App != nil {
		if err := a.App.validate(); err != nil {
			return at("app", err)
		}
	}
	for i, m := range a.Mounts {
		if err := m.validate(); err != nil {
			return at("mounts"+index(i), err)
		}
	}
	return at("annotations", a.Annotations.validate())
}

func (r RuntimeImage) validate() error {
	if r.Name != nil {
		if err := r.Name.validate(); err != nil {
			return at("name", err)
		}
	}
	if r.ID != "" {
		if err := r.ID.validate(); err != nil {
			return at("id", err)
		}
	}
	return at("labels", r.Labels.validate())
}

func (m Mount) validate() error {
	if err := m.Volume.validate(); err != nil {
		return at("volume", err)
	}
	if m.Path == "" {
		return at("path", errors.New("path must be set"))
	}
	if err := validateWord(m.Path); err != nil {
		return at("path", err)
	}
	if m.AppVolume == nil {
		return nil
	}
	return at("appVolume", m.AppVolume.validate())
}

func (p ExposedPort) validate() error {
	if err := p.Name.validate(); err != nil {
		return at("name", err)
	}
	if p.HostPort >= maxPort {
		return at("hostPort", fmt.Errorf("port %d must be in 0-65535 range", p.HostPort))
	}
	if p.HostIP != "" && net.ParseIP(p.HostIP) == nil {
		return at("hostIP", fmt.Errorf("%q is not a valid IP", p.HostIP))
	}
	if p.PodPort == nil {
		return nil
	}
	return at("podPort", p.PodPort.validate())
}
