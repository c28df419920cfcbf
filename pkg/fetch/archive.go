// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// ArchiveForm says how the images of an archive are laid out.
type ArchiveForm string

// The forms, the newest of which an archive is taken for.
const (
	FormOCI    ArchiveForm = "oci"    // an image layout and nothing else
	FormDocker ArchiveForm = "docker" // "docker save" with manifest.json
	FormLegacy ArchiveForm = "legacy" // "docker save" before docker 1.10
)

// Archive is the table of contents of an archive of images.
type Archive struct {
	Form ArchiveForm
	// Images holds the names of each image, none for one without a name. Images
	// of one name in an image layout differ in their platform and are listed once.
	Images [][]string
}

// ReadArchive lists the images in the tar file path. A compressed one is
// unpacked to a file without name in tempDir.
func ReadArchive(ctx context.Context, path, tempDir string) (*Archive, error) {
	tree, err := openTar(ctx, path, tempDir)
	if err != nil {
		return nil, err
	}
	defer tree.close()
	has := func(name string) bool { _, ok := tree.entries[name]; return ok }
	switch {
	case has("manifest.json") && has("index.json"):
		return dockerLayout(tree)
	case has("manifest.json"):
		_, names, err := readSaved(tree)
		return &Archive{FormDocker, names}, err
	case has("repositories"):
		names, _, err := readRepositories(tree)
		return &Archive{FormLegacy, names}, err
	}
	index, err := readIndex(tree)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: not an archive of images: it has none of index.json, refs, manifest.json and repositories", path)
	}
	if err != nil {
		return nil, err
	}
	return &Archive{FormOCI, layoutNames(index)}, nil
}

// dockerLayout is an archive of docker since version 25, which has both forms.
func dockerLayout(tree *tarTree) (*Archive, error) {
	index, err := readIndex(tree)
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) == 0 {
		_, names, err := readSaved(tree)
		return &Archive{FormDocker, names}, err
	}
	return &Archive{FormDocker, indexNames(index)}, nil
}

func layoutNames(index *ociconv.Index) [][]string {
	var names [][]string
	seen := map[string]bool{}
	for _, d := range index.Manifests {
		name := d.RefName()
		switch {
		case seen[name]:
		case name == "":
			names = append(names, nil)
		default:
			names = append(names, []string{name})
		}
		seen[name] = true
	}
	return names
}
