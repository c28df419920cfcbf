// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Stage1 is the root file system of stage1 in a pod.
type Stage1 struct {
	root  *os.Root
	path  string
	shift uint32 // owner of what is made here, 0 without user namespace
}

// OpenStage1 opens a stage1 tree that is in place: a copy, or an overlay, maybe
// of layers that are mapped to a user namespace. Files are made by and for the
// user shift, which is root in the pod; nobody else can make any in the latter.
func OpenStage1(path string, shift uint32) (*Stage1, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open stage1: %w", err)
	}
	return &Stage1{root: r, path: path, shift: shift}, nil
}

// Close closes the tree.
func (s *Stage1) Close() error { return s.root.Close() }

// TouchStatus makes the status directory exist in the writable layer of an
// overlay, where readers outside the pod look for it.
func (s *Stage1) TouchStatus() error {
	now := time.Now()
	err := idmap.WithRoot(s.shift, func() error { return s.root.Chtimes(poddir.StatusDir, now, now) })
	if errors.Is(err, fs.ErrNotExist) {
		return s.mkdirAll(poddir.StatusDir)
	}
	if err != nil {
		return fmt.Errorf("touch status directory of stage1: %w", err)
	}
	return nil
}

// PlaceApp makes an app's directory, with its image manifest and an empty
// directory rootfs, and returns the path of the latter.
func (s *Stage1) PlaceApp(app string, manifest []byte) (string, error) {
	if err := s.mkdirAll(poddir.AppRootfs(app)); err != nil {
		return "", fmt.Errorf("make directory of app %q: %w", app, err)
	}
	if err := s.writeFile(poddir.AppManifest(app), manifest, 0o644); err != nil {
		return "", fmt.Errorf("write image manifest of app %q: %w", app, err)
	}
	return s.path + "/" + poddir.AppRootfs(app), nil
}

// LinkMtab makes etc/mtab in an app's root file system that has a directory
// etc without one.
func (s *Stage1) LinkMtab(app string) error {
	rootfs, err := s.root.OpenRoot(poddir.AppRootfs(app))
	if err != nil {
		return fmt.Errorf("open root file system of app %q: %w", app, err)
	}
	defer func() { _ = rootfs.Close() }()
	if fi, err := rootfs.Lstat("etc"); err != nil || !fi.IsDir() {
		return nil
	}
	err = idmap.WithRoot(s.shift, func() error { return rootfs.Symlink("../proc/self/mounts", "etc/mtab") })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make etc/mtab of app %q: %w", app, err)
	}
	return s.lchown(rootfs, "etc/mtab")
}

// ReadFile reads a file of the stage1 tree.
func (s *Stage1) ReadFile(name string) ([]byte, error) { return s.root.ReadFile(name) }

// WriteDNS writes one of the pod-wide DNS files.
func (s *Stage1) WriteDNS(name string, data []byte) error {
	if err := s.mkdirAll("etc"); err != nil {
		return err
	}
	return s.writeFile(name, data, 0o644)
}

func (s *Stage1) mkdirAll(name string) error {
	return idmap.WithRoot(s.shift, func() error { return s.doMkdirAll(name) })
}

func (s *Stage1) doMkdirAll(name string) error {
	if fi, err := s.root.Stat(name); err == nil && fi.IsDir() {
		return nil
	}
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		err := s.root.Mkdir(name[:i], 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.lchown(s.root, name[:i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage1) writeFile(name string, data []byte, mode os.FileMode) error {
	err := idmap.WithRoot(s.shift, func() error { return s.root.WriteFile(name, data, mode) })
	if err != nil {
		return err
	}
	return s.lchown(s.root, name)
}

// lchown is for what was there before, and for a directory that hands its
// group down.
func (s *Stage1) lchown(r *os.Root, name string) error {
	if s.shift == 0 {
		return nil
	}
	return r.Lchown(name, int(s.shift), int(s.shift))
}
