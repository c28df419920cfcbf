// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Media types of what is made of an ACI.
const (
	OCIConfig    = ociConfig
	OCILayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// platformOf is the platform of the labels os and arch, the reverse of Labels.
func platformOf(os, arch string) (Platform, error) {
	p := Platform{OS: os, Architecture: arch}
	switch arch {
	case "i386":
		p.Architecture = "386"
	case "x86_64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armv6l":
		p.Architecture, p.Variant = "arm", "v6"
	case "armv7l":
		p.Architecture, p.Variant = "arm", "v7"
	}
	if gotOS, gotArch, ok := Labels(p); !ok || gotOS != os || gotArch != arch {
		return Platform{}, fmt.Errorf("labels os=%q and arch=%q are no platform of OCI", os, arch)
	}
	return p, nil
}

// appcConfig is an image config. Its fields are those of AppConfig, without the empty ones.
type appcConfig struct {
	Created      string     `json:"created,omitempty"`
	Author       string     `json:"author,omitempty"`
	Architecture string     `json:"architecture"`
	Variant      string     `json:"variant,omitempty"`
	OS           string     `json:"os"`
	Config       appcRun    `json:"config"`
	RootFS       appcRootFS `json:"rootfs"`
}

type appcRun struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

type appcRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// FromAppc makes the config of an image with one layer of an appc manifest.
// What has no counterpart is left out: isolators, event handlers, names of ports and mount points.
func FromAppc(m *appc.ImageManifest, diffID string) ([]byte, Platform, error) {
	os, arch := appc.HostLabels()
	if v, ok := m.Labels.Get("os"); ok {
		os = v
	}
	if v, ok := m.Labels.Get("arch"); ok {
		arch = v
	}
	p, err := platformOf(os, arch)
	if err != nil {
		return nil, Platform{}, err
	}
	c := appcConfig{
		Architecture: p.Architecture, Variant: p.Variant, OS: p.OS,
		RootFS: appcRootFS{Type: "layers", DiffIDs: []string{diffID}},
	}
	c.Author, _ = m.Annotations.Get("authors")
	if created, ok := m.Annotations.Get("created"); ok {
		if _, err := time.Parse(time.RFC3339, created); err == nil {
			c.Created = created
		}
	}
	if m.App != nil {
		c.Config = runOf(m.App)
	}
	data, err := json.Marshal(c)
	return data, p, err
}

func runOf(a *appc.App) appcRun {
	c := appcRun{User: a.User, Entrypoint: a.Exec, WorkingDir: a.WorkingDirectory, Labels: a.UserLabels}
	if a.Group != "" {
		c.User += ":" + a.Group
	}
	for _, e := range a.Environment {
		c.Env = append(c.Env, e.Name+"="+e.Value)
	}
	for _, mp := range a.MountPoints {
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[mp.Path] = struct{}{}
	}
	for _, port := range a.Ports {
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		for n := range max(port.Count, 1) {
			c.ExposedPorts[fmt.Sprintf("%d/%s", port.Port+n, port.Protocol)] = struct{}{}
		}
	}
	return c
}
