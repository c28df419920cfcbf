// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

// Origin says where an image came from, which names it.
type Origin struct {
	// Name is HOST/REPOSITORY or what stands for it; it is sanitised.
	Name string
	// Version becomes the label version unless empty.
	Version string
	// Original is the reference as the user typed it.
	Original string
	// Registry is the host, empty for images that did not come from one.
	Registry string
	// Repository is the path on the registry. It marks an image as converted,
	// so it is never empty.
	Repository string

	ManifestDigest string
}

// FromReference is the origin of an image from a registry.
func FromReference(ref distribution.Docker) Origin {
	return Origin{
		Name:       ref.Host + "/" + ref.Repository,
		Version:    ref.Tag,
		Original:   ref.Text,
		Registry:   ref.Host,
		Repository: ref.Repository,
	}
}

// FromFile is the origin of an image in a local directory or archive. A ref
// with a slash or colon is a whole name, as "docker save" writes them; any
// other one is a version, and the file names the image.
func FromFile(path, ref string) Origin {
	o := Origin{Name: fileName(path), Version: ref, Original: ref}
	if strings.ContainsAny(ref, ":/") {
		if d, err := distribution.ParseReference(ref); err == nil {
			o.Name, o.Version = typedName(d), d.Tag
		} else {
			o.Name, o.Version = ref, ""
		}
	}
	if ref == "" {
		o.Original = filepath.Base(path)
	}
	o.Repository = o.Name
	return o
}

// typedName is the name part of a reference without what docker adds to it.
func typedName(d distribution.Docker) string {
	name, _, _ := strings.Cut(d.Text, "@")
	if d.Digest == "" {
		name = strings.TrimSuffix(name, ":"+d.Tag)
	}
	return name
}

// fileName is the last component of path without the suffixes of archives.
func fileName(path string) string {
	name := filepath.Base(path)
	for {
		ext := filepath.Ext(name)
		switch strings.ToLower(ext) {
		case ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zst", ".tzst", ".oci":
			name = strings.TrimSuffix(name, ext)
		default:
			return name
		}
	}
}

func (o Origin) imageName() (appc.Identifier, error) {
	name, err := appc.SanitizeIdentifier(o.Name)
	if err != nil {
		return "", fmt.Errorf("cannot make an image name of %q: %w", o.Name, err)
	}
	return name, nil
}
