// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/deltree"
)

// Mark makes an empty file, of which the modification time counts. One that is
// there is replaced.
func (s *Stage1) Mark(name string) error {
	if err := s.Remove(name); err != nil {
		return err
	}
	return s.write(name, nil)
}

// WriteEnv writes the environment file of an app.
func (s *Stage1) WriteEnv(app string, data []byte) error { return s.write(poddir.AppEnv(app), data) }

// write makes a file of the pod's state, in a directory that an image may lack,
// and waits until it is durable.
func (s *Stage1) write(name string, data []byte) error {
	if err := s.mkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	if err := s.writeFile(name, data, 0o644); err != nil {
		return err
	}
	return errors.Join(s.sync(name), s.sync(filepath.Dir(name)))
}

func (s *Stage1) sync(name string) error {
	f, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Has tells whether there is something of that name.
func (s *Stage1) Has(name string) (bool, error) {
	_, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Remove deletes name and all below it; what is not there is no error. It does
// not touch what is mounted there.
func (s *Stage1) Remove(name string) error {
	dir, err := s.root.Open(filepath.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s of stage1: %w", name, err)
	}
	defer func() { _ = dir.Close() }()
	if err := deltree.RemoveAt(int(dir.Fd()), filepath.Base(name)); err != nil {
		return fmt.Errorf("remove %s of stage1: %w", name, err)
	}
	return nil
}

// OpenApp opens the root of an app, to mount on it; it is no link.
func (s *Stage1) OpenApp(app string) (*os.File, error) {
	f, err := s.root.OpenFile(poddir.AppRootfs(app), unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open root file system of app %q: %w", app, err)
	}
	return f, nil
}
