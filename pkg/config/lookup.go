// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"slices"
	"strings"
)

// AuthFor finds the credentials for a request. Credentials go out over https
// only. A domain matches the host as the URL writes it, port included; ":443"
// and no port are the same; "*.example.com" matches any host below
// example.com and gives way to an exact domain.
func (c *Config) AuthFor(u *url.URL) (AuthEntry, bool) {
	if u.Scheme != "https" || u.Host == "" {
		return AuthEntry{}, false
	}
	host := strings.TrimSuffix(u.Host, ":443")
	for _, domain := range []string{u.Host, host, host + ":443"} {
		if e, ok := c.Auth[domain]; ok {
			return e, true
		}
	}
	for rest := host; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			return AuthEntry{}, false
		}
		if e, ok := c.Auth["*."+parent]; ok {
			return e, true
		}
		rest = parent
	}
}

// hubNames are the names of the default registry, the canonical one first.
func hubNames() []string {
	return []string{"registry-1.docker.io", "index.docker.io", "docker.io"}
}

// DockerAuthFor finds the credentials for a registry, the host as an image
// reference writes it; "" is the default registry, whose names are aliases of
// each other.
func (c *Config) DockerAuthFor(registry string) (Basic, bool) {
	if b, ok := c.DockerAuth[registry]; ok {
		return b, true
	}
	if registry != "" && !slices.Contains(hubNames(), registry) {
		return Basic{}, false
	}
	for _, name := range hubNames() {
		if b, ok := c.DockerAuth[name]; ok {
			return b, true
		}
	}
	return Basic{}, false
}
