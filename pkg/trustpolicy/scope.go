// SPDX-License-Identifier: Apache-2.0

package trustpolicy

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Scope is what a rule is for. The zero value is for nothing.
type Scope struct {
	text   string // canonical
	docker bool
	form   Form   // of local files
	path   string // HOST[/REPOSITORY], a prefix of appc names, or a path
}

// Form is how local files hold an image: the beginning of the image string.
type Form string

// The forms.
const (
	Layout        Form = "oci"
	OCIArchive    Form = "oci-archive"
	DockerArchive Form = "docker-archive"
)

// Everything is the scope of all images.
const Everything = "*"

const dockerScheme = "docker://"

// IsDocker tells whether text is meant as a scope of registry images.
func IsDocker(text string) bool { return strings.HasPrefix(text, dockerScheme) }

// IsImages tells whether text is meant as a scope of images that cosign signs:
// those of registries, and of local files in the form of one.
func IsImages(text string) bool {
	_, _, ok := cutForm(text)
	return ok || IsDocker(text)
}

func cutForm(text string) (Form, string, bool) {
	form, path, _ := strings.Cut(text, ":")
	switch f := Form(form); f {
	case Layout, OCIArchive, DockerArchive:
		return f, path, strings.HasPrefix(path, "/")
	}
	return "", "", false
}

// ParseScope parses *, docker://HOST[/REPOSITORY], a prefix of appc names, or an
// absolute path after oci:, oci-archive: or docker-archive:.
func ParseScope(text string) (Scope, error) {
	if text == Everything {
		return Scope{text: text}, nil
	}
	if path, ok := strings.CutPrefix(text, dockerScheme); ok {
		return dockerScope(text, path)
	}
	if form, path, ok := cutForm(text); ok {
		if filepath.Clean(path) != path || strings.Contains(path, "\x00") {
			return Scope{}, fmt.Errorf("scope %q: write the path as %q", text, filepath.Clean(path))
		}
		return Scope{text: text, form: form, path: path}, nil
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

// IsImages tells whether what is in the scope is what cosign signs.
func (s Scope) IsImages() bool { return s.docker || s.form != "" || s.text == Everything }

// coversLocal compares with a path that is absolute, clean and free of links.
func (s Scope) coversLocal(form Form, path string) bool {
	return s.text == Everything || s.form == form && form != "" && (s.path == "/" || below(s.path, path))
}

func (s Scope) coversDocker(host, repository string) bool {
	return s.text == Everything || s.docker && below(s.path, canonicalHost(host)+"/"+repository)
}

func (s Scope) coversACI(name appc.Identifier) bool {
	return s.text == Everything || !s.docker && s.form == "" && below(s.path, string(name))
}

// below compares by path component.
func below(prefix, path string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && prefix != "" && (rest == "" || rest[0] == '/')
}
