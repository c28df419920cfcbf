// SPDX-License-Identifier: Apache-2.0

package trustpolicy

import (
	"fmt"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Scope is what a rule is for. The zero value is for nothing.
type Scope struct {
	text   string // canonical
	docker bool
	path   string // HOST[/REPOSITORY] or a prefix of appc names
}

// Everything is the scope of all images.
const Everything = "*"

const dockerScheme = "docker://"

// IsDocker tells whether text is meant as a scope of registry images.
func IsDocker(text string) bool { return strings.HasPrefix(text, dockerScheme) }

// ParseScope parses *, docker://HOST[/REPOSITORY] or a prefix of appc names.
func ParseScope(text string) (Scope, error) {
	if text == Everything {
		return Scope{text: text}, nil
	}
	if path, ok := strings.CutPrefix(text, dockerScheme); ok {
		return dockerScope(text, path)
	}
	if _, err := appc.NewIdentifier(text); err != nil {
		return Scope{}, fmt.Errorf("scope %q: %w", text, err)
	}
	return Scope{text: text, path: text}, nil
}

func dockerScope(text, path string) (Scope, error) {
	host, repository, deeper := strings.Cut(path, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		err := fmt.Errorf("scope %q does not begin with the host of a registry", text)
		return Scope{}, hint.With(err, "write docker://docker.io/library/NAME for the images of Docker Hub")
	}
	probe := repository
	if !deeper {
		probe = "x/x"
	}
	ref, err := distribution.ParseReference(host + "/" + probe)
	switch {
	case err != nil:
		return Scope{}, fmt.Errorf("scope %q: %w", text, err)
	case deeper && ref.Text != host+"/"+repository, strings.ContainsAny(repository, ":@"):
		return Scope{}, fmt.Errorf("scope %q has a tag or digest; it is for a repository and those below it", text)
	}
	s := Scope{docker: true, path: canonicalHost(host)}
	if deeper {
		s.path += "/" + repository // as it is: library is above the images in it
	}
	s.text = dockerScheme + s.path
	return s, nil
}

// canonicalHost gives each registry one spelling.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	return distribution.NormalizeHost(strings.TrimSuffix(host, "."))
}

// String is the scope as it is written.
func (s Scope) String() string { return s.text }

// IsDocker tells whether the scope is for registry images alone.
func (s Scope) IsDocker() bool { return s.docker }

func (s Scope) coversDocker(host, repository string) bool {
	return s.text == Everything || s.docker && below(s.path, canonicalHost(host)+"/"+repository)
}

func (s Scope) coversACI(name appc.Identifier) bool {
	return s.text == Everything || !s.docker && below(s.path, string(name))
}

// below compares by path component.
func below(prefix, path string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && prefix != "" && (rest == "" || rest[0] == '/')
}
