// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Registry is the kind registry: where images whose names begin with a prefix
// are fetched from.
type Registry struct {
	// Location takes the place of the prefix; empty: the prefix itself.
	Location string
	Blocked  bool // no image is fetched
	Insecure bool // plain http and any certificate for Location
	Mirrors  []Mirror
}

// Mirror is a place to ask before the registry.
type Mirror struct {
	Location string         `json:"location"`
	Insecure bool           `json:"insecure"`
	Pull     PullFromMirror `json:"pullFromMirror"`
}

// PullFromMirror says which images a mirror is asked for.
type PullFromMirror string

// The values of pullFromMirror.
const (
	PullAll    PullFromMirror = "all" // the default
	PullDigest PullFromMirror = "digest-only"
	PullTag    PullFromMirror = "tag-only"
)

// Endpoint is one place to fetch an image from.
type Endpoint struct {
	Host, Repository string
	Insecure         bool
	Mirror           bool
}

// BlockedError is returned for images of a registry that is blocked.
type BlockedError struct{ Prefix string }

func (e *BlockedError) Error() string {
	return fmt.Sprintf("registry %q is blocked by the configuration", e.Prefix)
}

type registryFile struct {
	header
	Prefix   string       `json:"prefix"`
	Location string       `json:"location"`
	Blocked  bool         `json:"blocked"`
	Insecure bool         `json:"insecure"`
	Mirrors  []mirrorFile `json:"mirrors"`
}

type mirrorFile Mirror

func (l *level) parseRegistry(data []byte) error {
	var f registryFile
	if err := decode(data, &f); err != nil {
		return err
	}
	if err := refuseUnknown("", data, &f); err != nil {
		return err
	}
	if err := refuseUnknownInList(data, "mirrors", &mirrorFile{}); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if _, ok := l.Registries[f.Prefix]; ok {
		return fmt.Errorf("registry with prefix %q is already specified", f.Prefix)
	}
	r := Registry{Location: f.Location, Blocked: f.Blocked, Insecure: f.Insecure}
	for _, m := range f.Mirrors {
		if m.Pull == "" {
			m.Pull = PullAll
		}
		r.Mirrors = append(r.Mirrors, Mirror(m))
	}
	l.Registries[f.Prefix] = r
	return nil
}

var (
	hostPattern = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$`)
	pathPattern = regexp.MustCompile(`^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$`)
)

// checkPlace accepts HOST[:PORT][/PATH].
func checkPlace(s string) error {
	host, path, hasPath := strings.Cut(s, "/")
	if !hostPattern.MatchString(host) || !strings.ContainsAny(host, ".:") && host != "localhost" || hasPath && !pathPattern.MatchString(path) {
		return fmt.Errorf("%q is not HOST[:PORT][/PATH]", s)
	}
	return nil
}

const wildcard = "*."

func (f *registryFile) check() error {
	if f.Prefix == "" {
		return errors.New("no prefix specified")
	}
	plain, isWild := strings.CutPrefix(f.Prefix, wildcard)
	if err := checkPlace(plain); err != nil {
		return fmt.Errorf("invalid prefix: %w", err)
	}
	if isWild && strings.Contains(plain, "/") {
		return fmt.Errorf("invalid prefix: %q has a path behind a wildcard", f.Prefix)
	}
	if f.Location != "" {
		if err := checkPlace(f.Location); err != nil {
			return fmt.Errorf("invalid location: %w", err)
		}
	}
	for i, m := range f.Mirrors {
		if m.Location == "" {
			return fmt.Errorf("no location of mirror %d specified", i+1)
		}
		if err := checkPlace(m.Location); err != nil {
			return fmt.Errorf("invalid location of mirror %d: %w", i+1, err)
		}
		switch m.Pull {
		case "", PullAll, PullDigest, PullTag:
		default:
			return fmt.Errorf("unknown pullFromMirror of mirror %d: %q (must be one of: %s, %s, %s)", i+1, m.Pull, PullAll, PullDigest, PullTag)
		}
	}
	return nil
}

// Endpoints lists where to fetch an image from, in order: the mirrors, then
// the registry itself. host and repository are those of the image's name;
// byDigest says that it is named by digest. The error is a *BlockedError.
func (c *Config) Endpoints(host, repository string, byDigest bool) ([]Endpoint, error) {
	itself := Endpoint{Host: host, Repository: repository}
	prefix, rest := c.longestPrefix(host, repository)
	if prefix == "" {
		return []Endpoint{itself}, nil
	}
	r := c.Registries[prefix]
	if r.Blocked {
		return nil, &BlockedError{prefix}
	}
	var list []Endpoint
	for _, m := range r.Mirrors {
		if m.Pull == PullDigest && !byDigest || m.Pull == PullTag && byDigest {
			continue
		}
		e := place(m.Location, rest)
		e.Insecure, e.Mirror = m.Insecure, true
		list = append(list, e)
	}
	if r.Location != "" {
		itself = place(r.Location, rest)
	}
	itself.Insecure = r.Insecure
	return append(list, itself), nil
}

// place is the endpoint at a location; rest is "" or begins with a slash.
func place(location, rest string) Endpoint {
	host, repository, _ := strings.Cut(location+rest, "/")
	return Endpoint{Host: canonicalHub(host), Repository: repository}
}

// longestPrefix finds the entry for an image and what follows its prefix. The
// names of Docker Hub are one; a host beats any wildcard.
func (c *Config) longestPrefix(host, repository string) (prefix, rest string) {
	name := canonicalHub(host) + "/" + repository
	best := -1
	for p := range c.Registries {
		if plain, ok := strings.CutPrefix(p, wildcard); ok {
			if strings.HasSuffix(host, "."+plain) && best < 0 && len(p) > len(prefix) {
				prefix, rest = p, "/"+repository
			}
			continue
		}
		h, path, hasPath := strings.Cut(p, "/")
		full := canonicalHub(h)
		if hasPath {
			full += "/" + path
		}
		tail, ok := strings.CutPrefix(name, full)
		if !ok || tail != "" && tail[0] != '/' || len(full) < best || len(full) == best && p > prefix {
			continue
		}
		best, prefix, rest = len(full), p, tail
	}
	return prefix, rest
}

func canonicalHub(host string) string {
	for _, name := range hubNames() {
		if host == name {
			return hubNames()[0]
		}
	}
	return host
}
