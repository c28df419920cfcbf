// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// hintedError is an error that knows what the user may have meant.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

// Hint is what to write instead.
func (e *hintedError) Hint() string { return e.hint }

// hintName is err with a hint if s, which is no image name, is a registry
// reference: that is how other tools name images.
func hintName(s string, err error) error {
	reference, isDocker := strings.CutPrefix(s, "docker:")
	d, perr := ParseReference(strings.TrimPrefix(reference, "//"))
	if perr != nil {
		return err
	}
	stored := storedName(d)
	switch {
	case stored == "":
		return err
	case isDocker:
		return &hintedError{err, "an image in the store goes by its ID or its name, here " + stored}
	}
	return &hintedError{err, "an image in a registry is written docker://" + s + ", the same image in the store " + stored}
}

// storedName is the appc string of the image that is made of a reference.
func storedName(d Docker) string {
	name, err := appc.SanitizeIdentifier(d.Host + "/" + d.Repository)
	if err != nil {
		return ""
	}
	if d.Tag != "" {
		return name.String() + ":" + d.Tag
	}
	return name.String()
}

// hintArchive is err with a hint if path may be an archive of another kind.
func hintArchive(path string, err error) error {
	if strings.HasSuffix(path, aciSuffix) || !strings.Contains(filepath.Base(path), ".t") {
		return err
	}
	return &hintedError{err, "an image that docker or podman saved is written docker-archive:" + path + " or oci-archive:" + path}
}
