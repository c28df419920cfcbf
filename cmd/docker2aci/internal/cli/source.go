// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/fetch"
)

// hasScheme tells whether an image says itself where it is; anything else is a file.
func hasScheme(image string) bool {
	scheme, _, ok := strings.Cut(image, ":")
	return ok && slices.Contains([]string{"docker", "oci", "oci-archive", "docker-archive"}, strings.ToLower(scheme))
}

// source is what to fetch.
type source struct {
	image  string // as package distribution parses it
	legacy bool   // an archive made before docker 1.10
}

// severalError lists the images of a file.
type severalError struct{ names []string }

func (e *severalError) Error() string {
	return "several images found, use option --image with one of:\n\n" + strings.Join(e.names, "\n")
}

// find says which image to fetch.
func find(ctx context.Context, o *options, image, tempDir string) (source, error) {
	if hasScheme(image) {
		return source{image: image}, nil
	}
	path, err := filepath.Abs(image)
	if err != nil {
		return source{}, err
	}
	archive, err := fetch.ReadArchive(ctx, path, tempDir)
	if err != nil {
		return source{}, err
	}
	ref, err := choose(archive, o.image)
	if err != nil {
		return source{}, err
	}
	if archive.Form == fetch.FormOCI {
		return source{image: distribution.OCIArchive{Path: path, Ref: ref}.CIMD()}, nil
	}
	return source{image: distribution.DockerArchive{Path: path, Ref: ref}.CIMD(), legacy: archive.Form == fetch.FormLegacy}, nil
}

// choose picks an image by the name that was asked for. The result is empty
// where the file leaves no choice.
func choose(a *fetch.Archive, want string) (string, error) {
	switch {
	case len(a.Images) == 0:
		return "", errors.New("no images found")
	case want == "" && len(a.Images) == 1:
		return "", nil
	case want == "":
		return "", &severalError{slices.Concat(a.Images...)}
	}
	name, tag := splitTag(want)
	found := false
	for _, have := range slices.Concat(a.Images...) {
		if a.Form == fetch.FormOCI && have == want {
			return have, nil // a tag names the image
		}
		haveName, haveTag := splitTag(have)
		if haveName != name {
			continue
		}
		if found = true; haveTag == tag {
			return have, nil
		}
	}
	switch {
	case found:
		return "", fmt.Errorf("tag %q not found", tag)
	case slices.Contains(slices.Concat(a.Images...), want):
		return want, nil
	}
	return "", fmt.Errorf("app %q not found", name)
}

func splitTag(s string) (name, tag string) {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:]
	}
	return s, "latest"
}
