// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Hub is the host of Docker Hub's registry; docker.io and index.docker.io are
// other names of it.
const Hub = "registry-1.docker.io"

// Docker is a registry reference. Exactly one of Tag and Digest is set.
type Docker struct {
	Host       string // "host[:port]"; Hub if none was given
	Repository string // "library/busybox"
	Tag        string
	Digest     string // "alg:hex"

	// Text is the reference as the user typed it, without "docker://".
	Text string
}

const (
	maxRepository = 255
	hexName       = 64 // a name of so many hex digits would look like an image ID
)

// Patterns are compiled when first used: most calls of rkt need none.
var (
	hostPattern      = compiled(`^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	componentPattern = compiled(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagPattern       = compiled(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestPattern    = compiled(`^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$`)
	hexNamePattern   = compiled(`^[a-f0-9]+$`)
)

func compiled(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// ParseReference parses [HOST[:PORT]/]NAME[:TAG][@DIGEST] as docker does.
func ParseReference(text string) (Docker, error) {
	d := Docker{Text: text}
	rest, digest, pinned := strings.Cut(text, "@")
	if pinned && !digestPattern().MatchString(digest) {
		return Docker{}, fmt.Errorf("invalid digest %q", digest)
	}
	name, tag := cutTag(rest)
	if tag != nil && !tagPattern().MatchString(*tag) {
		return Docker{}, fmt.Errorf("invalid tag %q", *tag)
	}
	if err := d.setName(name); err != nil {
		return Docker{}, err
	}
	switch {
	case pinned:
		d.Digest = digest
	case tag != nil:
		d.Tag = *tag
	default:
		d.Tag = "latest"
	}
	return d, nil
}

// cutTag splits at the colon of the tag, which comes after the last slash; the
// colon of a port comes before it.
func cutTag(s string) (name string, tag *string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, nil
	}
	t := s[i+1:]
	return s[:i], &t
}

func (d *Docker) setName(name string) error {
	host, repository, ok := strings.Cut(name, "/")
	if !ok || !looksLikeHost(host) {
		host, repository = Hub, name
	} else if !hostPattern().MatchString(host) {
		return fmt.Errorf("invalid registry host %q", host)
	}
	d.Host = NormalizeHost(host)
	if err := checkRepository(repository); err != nil {
		return err
	}
	if d.Host == Hub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	d.Repository = repository
	return nil
}

func looksLikeHost(s string) bool { return strings.ContainsAny(s, ".:") || s == "localhost" }

// NormalizeHost maps the other names of Docker Hub to Hub.
func NormalizeHost(host string) string {
	if host == "docker.io" || host == "index.docker.io" {
		return Hub
	}
	return host
}

func checkRepository(repository string) error {
	if repository == "" {
		return errors.New("no image name")
	}
	if len(repository) > maxRepository {
		return fmt.Errorf("image name is longer than %d characters", maxRepository)
	}
	if len(repository) == hexName && hexNamePattern().MatchString(repository) {
		return fmt.Errorf("image name %q looks like an image ID", repository)
	}
	for component := range strings.SplitSeq(repository, "/") {
		if !componentPattern().MatchString(component) {
			return fmt.Errorf("invalid image name component %q", component)
		}
	}
	return nil
}

// Full is host/name:tag or host/name@digest.
func (d Docker) Full() string { return d.Host + "/" + d.Repository + d.suffix() }

func (d Docker) suffix() string {
	if d.Digest != "" {
		return "@" + d.Digest
	}
	return ":" + d.Tag
}

// String is the simple form: without Docker Hub's host, library/ and :latest.
func (d Docker) String() string {
	name := d.Host + "/" + d.Repository
	if d.Host == Hub {
		name = strings.TrimPrefix(d.Repository, "library/")
	}
	if d.Digest == "" && d.Tag == "latest" {
		return name
	}
	return name + d.suffix()
}

// CIMD has the reference as typed, which is also its key in the store.
func (d Docker) CIMD() string { return cimd(typeDocker, d.Text, nil) }

// URL is docker:// and the reference as typed: the store's key for it.
func (d Docker) URL() string { return "docker://" + d.Text }

// Equal compares the full forms.
func (d Docker) Equal(p Point) bool {
	b, ok := p.(Docker)
	return ok && d.Full() == b.Full()
}
