// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Names of the annotations that keep what appc has no field for.
const (
	AnnotationOriginalName = "appc.io/docker/originalname"
	AnnotationRegistryURL  = "appc.io/docker/registryurl"
	AnnotationRepository   = "appc.io/docker/repository"
	AnnotationImageID      = "appc.io/docker/imageid"
	AnnotationManifestHash = "appc.io/docker/manifesthash"
	AnnotationEntrypoint   = "appc.io/docker/entrypoint"
	AnnotationCmd          = "appc.io/docker/cmd"
)

// converter collects the warnings of one conversion.
type converter struct{ warnings []string }

func (c *converter) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// ImageManifest makes the image manifest for a config. topLayer is the digest
// of the last layer. The warnings name each value that was repaired or dropped.
func ImageManifest(config *Config, origin Origin, topLayer string) (*appc.ImageManifest, []string, error) {
	name, err := origin.imageName()
	if err != nil {
		return nil, nil, err
	}
	var c converter
	m := &appc.ImageManifest{
		ACKind:      appc.ImageManifestKind,
		ACVersion:   appc.ACVersion,
		Name:        name,
		Labels:      c.labels(config, origin),
		Annotations: c.annotations(config, origin, topLayer),
	}
	if config.App != nil {
		if m.App, err = c.app(config.App); err != nil {
			return nil, nil, err
		}
	}
	if err := m.Validate(); err != nil {
		return nil, nil, fmt.Errorf("converted image manifest is not valid: %w", err)
	}
	return m, c.warnings, nil
}

// labels are arch, os and version: sorted by name.
func (c *converter) labels(config *Config, origin Origin) appc.Labels {
	os, arch, ok := Labels(Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant})
	if !ok {
		os, arch = appc.HostLabels()
		c.warn("image says platform %q, using %s/%s of this machine",
			Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}.String(), os, arch)
	}
	labels := appc.Labels{{Name: "arch", Value: arch}, {Name: "os", Value: os}}
	if origin.Version != "" {
		labels = append(labels, appc.Label{Name: "version", Value: origin.Version})
	}
	return labels
}

// Labels translates a platform to the values of the labels os and arch.
func Labels(p Platform) (os, arch string, ok bool) {
	switch p.OS + "/" + p.Architecture {
	case "linux/amd64", "linux/ppc64", "linux/ppc64le", "linux/s390x", "freebsd/amd64", "freebsd/arm":
		return p.OS, p.Architecture, true
	case "linux/386", "freebsd/386", "darwin/386":
		return p.OS, "i386", true
	case "darwin/amd64":
		return p.OS, "x86_64", true
	case "linux/arm64":
		return p.OS, "aarch64", true
	case "linux/arm":
		switch p.Variant {
		case "", "v6":
			return p.OS, "armv6l", true
		case "v7":
			return p.OS, "armv7l", true
		}
	}
	return "", "", false
}

func (c *converter) annotations(config *Config, origin Origin, topLayer string) appc.Annotations {
	var a appc.Annotations
	set := func(name appc.Identifier, value string) {
		if value != "" {
			a = append(a, appc.Annotation{Name: name, Value: value})
		}
	}
	set("author", config.Author)
	set("created", c.date(config.Created))
	set(AnnotationOriginalName, origin.Original)
	set(AnnotationRegistryURL, origin.Registry)
	set(AnnotationRepository, origin.Repository)
	set(AnnotationImageID, topLayer)
	set(AnnotationManifestHash, origin.ManifestDigest)
	if config.App != nil {
		set(AnnotationEntrypoint, words(config.App.Entrypoint))
		set(AnnotationCmd, words(config.App.Cmd))
	}
	return a
}

func (c *converter) date(s string) string {
	if s == "" {
		return ""
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		c.warn("creation date %q is not an RFC 3339 date: dropped", s)
		return ""
	}
	return s
}

func words(list []string) string {
	if len(list) == 0 {
		return ""
	}
	data, err := json.Marshal(list)
	if err != nil {
		return "" // a list of strings always marshals
	}
	return string(data)
}

func (c *converter) app(config *AppConfig) (*appc.App, error) {
	exec := slices.Concat(config.Entrypoint, config.Cmd)
	for _, w := range exec {
		if hasNUL(w) {
			return nil, fmt.Errorf("entrypoint or command of the image: %q contains a NUL character", w)
		}
	}
	app := &appc.App{Exec: exec}
	app.User, app.Group = c.user(config.User)
	app.WorkingDirectory = c.workingDirectory(config.WorkingDir)
	app.Environment = c.environment(config.Env)
	app.MountPoints = c.mountPoints(config.Volumes)
	app.Ports = c.ports(config.ExposedPorts)
	if len(config.Labels) > 0 {
		app.UserLabels = maps.Clone(config.Labels)
	}
	return app, nil
}

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }

func (c *converter) user(s string) (user, group string) {
	if s == "" {
		return "0", "0"
	}
	if hasNUL(s) {
		// Falling back to root would be less isolation than asked for: a
		// user that cannot exist makes the app fail to start.
		s = strings.ReplaceAll(s, "\x00", "")
		c.warn("user contains a NUL character, using %q", s)
	}
	user, group, ok := strings.Cut(s, ":")
	if user == "" {
		user = "0"
	}
	if !ok || group == "" {
		group = user
	}
	return user, group
}

func (c *converter) workingDirectory(s string) string {
	switch {
	case s == "" || path.IsAbs(s) && !hasNUL(s):
		return s
	case hasNUL(s):
		c.warn("working directory %q contains a NUL character: dropped", s)
		return ""
	}
	abs := path.Join("/", s)
	c.warn("working directory %q is not absolute, using %q", s, abs)
	return abs
}

// environment drops entries without "="; a repeated name keeps its first
// position and its last value.
func (c *converter) environment(list []string) appc.Environment {
	var env appc.Environment
	position := make(map[string]int, len(list))
	for _, entry := range list {
		name, value, ok := strings.Cut(entry, "=")
		switch {
		case !ok:
			continue
		case !appc.ValidEnvironmentName(name):
			c.warn("environment variable name %q is not valid: dropped", name)
			continue
		case hasNUL(value):
			c.warn("value of environment variable %q contains a NUL character: dropped", name)
			continue
		}
		if i, ok := position[name]; ok {
			env[i].Value = value
			continue
		}
		position[name] = len(env)
		env = append(env, appc.EnvironmentVariable{Name: name, Value: value})
	}
	return env
}

func (c *converter) mountPoints(volumes map[string]struct{}) []appc.MountPoint {
	n := names{taken: map[appc.Name]bool{}, next: map[appc.Name]int{}}
	var points []appc.MountPoint
	for _, p := range slices.Sorted(maps.Keys(volumes)) {
		if p == "" || hasNUL(p) {
			c.warn("volume path %q is not valid: dropped", p)
			continue
		}
		points = append(points, appc.MountPoint{Name: n.unique("volume" + p), Path: p})
	}
	slices.SortFunc(points, func(a, b appc.MountPoint) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return points
}

// names gives AC names that were not given before. next is the number to try
// for a base name: without it, an image with very many volumes of one name would take quadratic time.
type names struct {
	taken map[appc.Name]bool
	next  map[appc.Name]int
}

// unique makes an AC name of s: a later duplicate gets "-1", "-2" and so on.
func (n *names) unique(s string) appc.Name {
	base, err := appc.SanitizeName(s)
	if err != nil {
		base = "volume"
	}
	name := base
	for n.taken[name] {
		n.next[base]++
		name = appc.Name(fmt.Sprintf("%s-%d", base, n.next[base]))
	}
	n.taken[name] = true
	return name
}

func (c *converter) ports(exposed map[string]struct{}) []appc.Port {
	taken := make(map[appc.Name]bool, len(exposed))
	var ports []appc.Port
	for _, s := range slices.Sorted(maps.Keys(exposed)) {
		p, err := parsePort(s)
		switch {
		case err != nil:
			c.warn("error parsing port %q: %v: dropped", s, err)
		case taken[p.Name]:
			c.warn("error parsing port %q: port %s is there already: dropped", s, p.Name)
		default:
			taken[p.Name] = true
			ports = append(ports, p)
		}
	}
	slices.SortFunc(ports, func(a, b appc.Port) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return ports
}

func parsePort(s string) (appc.Port, error) {
	number, protocol, ok := strings.Cut(strings.ToLower(s), "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return appc.Port{}, errors.New("no number from 1 to 65535")
	}
	name := strconv.FormatUint(n, 10)
	if ok {
		name += "-" + protocol
	} else {
		protocol = "tcp"
	}
	p := appc.Port{Protocol: protocol, Port: uint(n), Count: 1}
	p.Name, err = appc.NewName(name)
	return p, err
}
