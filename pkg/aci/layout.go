// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// ValidateLayout checks the directory dir: a valid manifest, a directory rootfs
// and nothing else. An error of type *OldVersionError comes with the manifest.
func ValidateLayout(dir string) (*appc.ImageManifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	m, err := validateLayout(root)
	return m, errors.Join(err, root.Close())
}

func validateLayout(root *os.Root) (*appc.ImageManifest, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	found := map[string]fs.DirEntry{}
	for _, e := range entries {
		if e.Name() != ManifestName && e.Name() != RootFSName {
			return nil, fmt.Errorf("unrecognized file path in layout: %q", e.Name())
		}
		found[e.Name()] = e
	}
	switch {
	case found[ManifestName] == nil:
		return nil, ErrNoManifest
	case !found[ManifestName].Type().IsRegular():
		return nil, errors.New("manifest is not a regular file")
	case found[RootFSName] == nil:
		return nil, ErrNoRootFS
	case !found[RootFSName].IsDir():
		return nil, ErrRootFSNotDir
	}
	m, err := readLayoutManifest(root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidManifest, err)
	}
	return m, checkVersion(m, supportedMajor)
}

func readLayoutManifest(root *os.Root) (*appc.ImageManifest, error) {
	f, err := root.Open(ManifestName)
	if err != nil {
		return nil, err
	}
	// One byte more than allowed lets the parser see that it is too much.
	raw, err := io.ReadAll(io.LimitReader(f, appc.MaxManifestSize+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return appc.ParseImageManifest(raw)
}

// BuildOptions say how BuildLayout writes.
type BuildOptions struct {
	// OwnerRoot gives every entry to 0:0, root:root.
	OwnerRoot bool
	// ModTime is the time of the manifest's entry.
	ModTime time.Time
	// ClampTimes makes ModTime the latest time of all other entries.
	ClampTimes bool
	// Skip, if set, tells which names to leave out with all below them. A name
	// is relative to the root file system.
	Skip func(name string) bool
}

// BuildLayout writes the layout dir to w as an uncompressed archive: rootfs in
// lexical order with the metadata it has on disk, then the manifest m in
// canonical form.
func BuildLayout(ctx context.Context, w io.Writer, dir string, m *appc.ImageManifest, o BuildOptions) error {
	raw, err := m.Marshal()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	err = buildLayout(ctx, w, root, raw, o)
	return errors.Join(err, root.Close())
}

func buildLayout(ctx context.Context, w io.Writer, root *os.Root, raw []byte, o BuildOptions) error {
	rootfs, err := root.Open(RootFSName)
	if err != nil {
		return err
	}
	aw := NewWriter(w)
	tree := treeOptions{ownerRoot: o.OwnerRoot, skip: o.Skip}
	if o.ClampTimes {
		tree.latest = o.ModTime
	}
	err = aw.addTree(ctx, rootfs, tree)
	if err := errors.Join(err, rootfs.Close()); err != nil {
		return err
	}
	if err := aw.WriteManifest(raw, o.ModTime); err != nil {
		return err
	}
	return aw.Close()
}
