// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

const (
	ociConfigType  = "application/vnd.oci.image.config.v1+json"
	ociLayerType   = "application/vnd.oci.image.layer.v1.tar"
	ociAnnotations = "coreos.com/acbuild/"
)

type ociDescriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type ociManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        ociDescriptor     `json:"config"`
	Layers        []ociDescriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type ociConfig struct {
	Created      time.Time    `json:"created"`
	Architecture string       `json:"architecture"`
	Variant      string       `json:"variant,omitempty"`
	OS           string       `json:"os"`
	Config       ociAppConfig `json:"config"`
	RootFS       ociRootFS    `json:"rootfs"`
}

type ociAppConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

type ociRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// ociImage is what of a manifest an OCI image can say.
type ociImage struct {
	config      ociConfig
	annotations map[string]string
	refName     string
	dropped     []string // what it cannot
}

// ociPlatform finds the platform with the given labels.
func ociPlatform(os, arch string) (ociconv.Platform, error) {
	for _, p := range []ociconv.Platform{
		{OS: os, Architecture: "amd64"},
		{OS: os, Architecture: "arm64"},
		{OS: os, Architecture: "386"},
		{OS: os, Architecture: "arm", Variant: "v7"},
		{OS: os, Architecture: "arm", Variant: "v6"},
		{OS: os, Architecture: "ppc64le"},
		{OS: os, Architecture: "s390x"},
		{OS: os, Architecture: "riscv64"},
	} {
		if o, a, ok := ociconv.Labels(p); ok && o == os && a == arch {
			return p, nil
		}
	}
	return ociconv.Platform{}, fmt.Errorf("no OCI platform is known for the labels os=%q, arch=%q", os, arch)
}

// convertToOCI says in the words of OCI what a manifest says.
func convertToOCI(m *manifest, created time.Time) (*ociImage, error) {
	os, arch := appc.HostLabels()
	if v, ok := m.Labels.Get("os"); ok {
		os = v
	}
	if v, ok := m.Labels.Get("arch"); ok {
		arch = v
	}
	platform, err := ociPlatform(os, arch)
	if err != nil {
		return nil, err
	}
	image := &ociImage{
		annotations: map[string]string{}, refName: "latest",
		config: ociConfig{Created: created.UTC(), OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant},
	}
	for _, l := range m.Labels {
		switch l.Name {
		case "os", "arch":
		case "version":
			image.refName = l.Value
		default:
			image.label(l)
		}
	}
	for _, a := range m.Annotations {
		image.annotations[a.Name.String()] = a.Value
	}
	if len(m.Dependencies) > 0 {
		return nil, errors.New("an image with dependencies cannot be written as OCI: its layers are not here")
	}
	if len(m.PathWhitelist) > 0 {
		image.dropped = append(image.dropped, "the path whitelist")
	}
	if m.App != nil {
		image.app(m.App)
	}
	return image, nil
}

func (i *ociImage) label(l appc.Label) {
	if i.config.Config.Labels == nil {
		i.config.Config.Labels = map[string]string{}
	}
	i.config.Config.Labels[l.Name.String()] = l.Value
}

func (i *ociImage) app(app *appc.App) {
	config := &i.config.Config
	config.User, config.WorkingDir = app.User+":"+app.Group, app.WorkingDirectory
	if len(app.Exec) > 0 {
		config.Entrypoint, config.Cmd = app.Exec[:1], app.Exec[1:]
	}
	for _, v := range app.Environment {
		config.Env = append(config.Env, v.Name+"="+v.Value)
	}
	for _, p := range app.MountPoints {
		if config.Volumes == nil {
			config.Volumes = map[string]struct{}{}
		}
		config.Volumes[p.Path] = struct{}{}
		i.annotations[ociAnnotations+"mount/"+p.Name.String()] = "path:" + p.Path
		if p.ReadOnly {
			i.dropped = append(i.dropped, "read-only of mount point "+p.Name.String())
		}
	}
	for _, p := range app.Ports {
		if config.ExposedPorts == nil {
			config.ExposedPorts = map[string]struct{}{}
		}
		number := strconv.FormatUint(uint64(p.Port), 10)
		config.ExposedPorts[number+"/"+p.Protocol] = struct{}{}
		i.annotations[ociAnnotations+"port/"+p.Name.String()] = "number:" + number + " protocol:" + p.Protocol
		if p.Count > 1 || p.SocketActivated {
			i.dropped = append(i.dropped, "count and socket activation of port "+p.Name.String())
		}
	}
	for what, n := range map[string]int{
		"isolators": len(app.Isolators), "event handlers": len(app.EventHandlers), "supplementary groups": len(app.SupplementaryGIDs),
	} {
		if n > 0 {
			i.dropped = append(i.dropped, what)
		}
	}
}
