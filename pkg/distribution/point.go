// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Point is a distribution point. The implementations are the types Appc,
// ACIArchive, Docker, OCILayout, OCIArchive and DockerArchive of this package.
type Point interface {
	// CIMD is the point as a URI that Parse accepts.
	CIMD() string
	// String is the short form for messages.
	String() string
	// Equal tells whether both mean the same place.
	Equal(Point) bool
}

// Appc is an image name with labels.
type Appc struct {
	Name   appc.Identifier
	Labels appc.Labels // in the order given
}

// ACIArchive is one archive file.
type ACIArchive struct {
	// URL has the scheme file, http or https.
	URL string
}

// OCILayout is a directory in the OCI image layout.
type OCILayout struct {
	Path   string // absolute
	Ref    string // value of org.opencontainers.image.ref.name; may be empty
	Digest string // "alg:hex" of a manifest; may be empty
}

// OCIArchive is a tar, compressed or not, of an OCI image layout.
type OCIArchive OCILayout

// DockerArchive is the output of "docker save".
type DockerArchive struct {
	Path string // absolute
	// Ref is NAME:TAG, or "@N" for the image at index N, or empty.
	Ref string
}

const (
	typeAppc          = "appc"
	typeACIArchive    = "aci-archive"
	typeDocker        = "docker"
	typeOCILayout     = "oci-image-layout"
	typeOCIArchive    = "oci-archive"
	typeDockerArchive = "docker-archive"
)

func cimd(kind, data string, query url.Values) string {
	s := "cimd:" + kind + ":v=0:" + data
	if len(query) > 0 {
		s += "?" + query.Encode()
	}
	return s
}

// CIMD has the labels sorted by name.
func (a Appc) CIMD() string {
	query := url.Values{}
	for _, l := range a.Labels {
		query.Set(l.Name.String(), l.Value)
	}
	// An identifier has no character that needs escaping but the slash, which may stay.
	return cimd(typeAppc, a.Name.String(), query)
}

// String is NAME[:VERSION] and the other labels, os and arch first, then by
// name.
func (a Appc) String() string {
	var b strings.Builder
	b.WriteString(a.Name.String())
	labels := slices.Clone(a.Labels)
	if version, ok := labels.Get("version"); ok && !isPrefix(a.Name.String()) {
		b.WriteString(":" + version)
		labels = slices.DeleteFunc(labels, func(l appc.Label) bool { return l.Name == "version" })
	}
	slices.SortStableFunc(labels, func(x, y appc.Label) int {
		if d := labelRank(x.Name) - labelRank(y.Name); d != 0 {
			return d
		}
		return strings.Compare(x.Name.String(), y.Name.String())
	})
	for _, l := range labels {
		b.WriteString("," + l.Name.String() + "=" + l.Value)
	}
	return b.String()
}

func labelRank(name appc.Identifier) int {
	switch name {
	case "version":
		return 0
	case "os":
		return 1
	case "arch":
		return 2
	}
	return 3
}

// Equal compares names and label sets.
func (a Appc) Equal(p Point) bool {
	b, ok := p.(Appc)
	return ok && a.Name == b.Name && maps.Equal(a.labelMap(), b.labelMap())
}

func (a Appc) labelMap() map[appc.Identifier]string {
	m := make(map[appc.Identifier]string, len(a.Labels))
	for _, l := range a.Labels {
		m[l.Name] = l.Value
	}
	return m
}

// CIMD has the URL escaped.
func (a ACIArchive) CIMD() string { return cimd(typeACIArchive, url.QueryEscape(a.URL), nil) }

// String is the URL if it ends in .aci, otherwise the cimd URI.
func (a ACIArchive) String() string {
	if strings.HasSuffix(a.URL, aciSuffix) {
		return a.URL
	}
	return a.CIMD()
}

// Equal compares the URLs.
func (a ACIArchive) Equal(p Point) bool {
	b, ok := p.(ACIArchive)
	return ok && a == b
}

// File returns the path if the archive is a local file.
func (a ACIArchive) File() (string, bool) {
	u, err := url.Parse(a.URL)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	return u.Path, true
}

func (l OCILayout) query() url.Values {
	query := url.Values{}
	if l.Ref != "" {
		query.Set("ref", l.Ref)
	}
	if l.Digest != "" {
		query.Set("digest", l.Digest)
	}
	return query
}

func (l OCILayout) text(prefix string) string {
	s := prefix + l.Path
	if l.Ref != "" {
		s += ":" + l.Ref
	}
	if l.Digest != "" {
		s += "@" + l.Digest
	}
	return s
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

// CIMD has the directory as an escaped file URL.
func (l OCILayout) CIMD() string {
	return cimd(typeOCILayout, url.QueryEscape(fileURL(l.Path)), l.query())
}

// String is oci:DIR[:REF][@DIGEST].
func (l OCILayout) String() string { return l.text("oci:") }

// Equal compares path, reference and digest.
func (l OCILayout) Equal(p Point) bool {
	b, ok := p.(OCILayout)
	return ok && l == b
}

// CIMD has the file as an escaped file URL.
func (a OCIArchive) CIMD() string {
	return cimd(typeOCIArchive, url.QueryEscape(fileURL(a.Path)), OCILayout(a).query())
}

// String is oci-archive:FILE[:REF][@DIGEST].
func (a OCIArchive) String() string { return OCILayout(a).text("oci-archive:") }

// Equal compares path, reference and digest.
func (a OCIArchive) Equal(p Point) bool {
	b, ok := p.(OCIArchive)
	return ok && a == b
}

// CIMD has the file as an escaped file URL.
func (a DockerArchive) CIMD() string {
	return cimd(typeDockerArchive, url.QueryEscape(fileURL(a.Path)), OCILayout{Ref: a.Ref}.query())
}

// String is docker-archive:FILE[:REF].
func (a DockerArchive) String() string {
	return OCILayout{Path: a.Path, Ref: a.Ref}.text("docker-archive:")
}

// Equal compares path and reference.
func (a DockerArchive) Equal(p Point) bool {
	b, ok := p.(DockerArchive)
	return ok && a == b
}
