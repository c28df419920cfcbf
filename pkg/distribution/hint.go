// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// hintName adds to the error of s, which is no image name, what to write
// instead if it is a registry reference: that is how other tools name images.
func hintName(s string, err error) error {
	text, isDocker := strings.CutPrefix(s, "docker:")
	d, perr := ParseReference(strings.TrimPrefix(text, "//"))
	if perr != nil {
		return err
	}
	name, nerr := appc.SanitizeIdentifier(d.Host + "/" + d.Repository)
	if nerr != nil {
		return err
	}
	stored := Appc{Name: name}
	if d.Tag != "" {
		stored.Labels = appc.Labels{{Name: "version", Value: d.Tag}}
	}
	if isDocker {
		return hint.With(err, "name an image in the store by its ID or its name, here %s", stored)
	}
	return hint.With(err, "write docker://%s for the image in the registry, %s for the one in the store", s, stored)
}

// hintArchive adds to the error of a file that is no image archive by its name
// how the archives of other tools are written.
func hintArchive(path string, err error) error {
	return hint.With(err, "the name of an image archive has to end in %q; write docker-archive:%s or oci-archive:%s for what docker or podman saved",
		aciSuffix, path, path)
}

// isTarName tells whether a file is named like a tar, compressed or not.
func isTarName(path string) bool {
	path = strings.ToLower(path)
	for _, suffix := range [...]string{".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst"} {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return false
}
