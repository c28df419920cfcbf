// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

// Directories below the CAS directory.
const (
	blobDir     = "blob"
	manifestDir = "imageManifest"
	recordDir   = "image"
	indexDir    = "db"
	backupDir   = "db-backups"
	tmpDir      = "tmp"
	partialDir  = "tmp/blobs"
	lockDir     = "imagelocks"
)

// Modes of images.md 15. They are set explicitly, so the umask does not matter.
const (
	dirMode  = 0o770 | fs.ModeSetgid
	fileMode = 0o660
)

// keyAlgorithm is the only algorithm of image IDs.
const keyAlgorithm = "sha512"

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// keyPath is where kind keeps the file of an image.
func (s *Store) keyPath(kind string, key appc.ImageID) string {
	k := string(key)
	return s.path(kind, keyAlgorithm, strings.TrimPrefix(k, keyAlgorithm+"-")[:2], k)
}

func (s *Store) recordPath(key appc.ImageID) string   { return s.keyPath(recordDir, key) }
func (s *Store) manifestPath(key appc.ImageID) string { return s.keyPath(manifestDir, key) }
func (s *Store) aciPath(key appc.ImageID) string      { return s.keyPath(blobDir, key) }

// blobPath is where the blob with an OCI digest lies.
func (s *Store) blobPath(d digest) string {
	return s.path(blobDir, d.algorithm, d.hex[:2], d.hex)
}

func (s *Store) partialPath(d digest) string { return s.path(partialDir, d.lockKey()) }

// makeDir creates a directory with the mode of the store; one that exists is
// left as the administrator made it.
func makeDir(path string) error {
	err := os.Mkdir(path, dirMode.Perm())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, dirMode)
}

// makeDirs is makeDir for path and its missing parents.
func makeDirs(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	return makeDir(path)
}

// shardRetries bounds how often a shard directory may vanish under a writer.
const shardRetries = 10

// inShard runs write, which creates path, after making the directories above
// it. Another process may remove an empty shard in between; then it starts over.
func inShard(path string, write func() error) error {
	var err error
	for range shardRetries {
		if err = makeDirs(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err = write(); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// syncAbove flushes the directories above a new shard directory.
func syncAbove(path string) error {
	shard := filepath.Dir(path)
	for _, dir := range []string{filepath.Dir(shard), filepath.Dir(filepath.Dir(shard))} {
		if err := atomicfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// unlink removes a file of a shard and the shard if it is empty now, for good:
// the directory is flushed. A file that is not there counts as removed.
func unlink(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.Remove(dir); err == nil {
		dir = filepath.Dir(dir)
	}
	err = atomicfile.SyncDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process removed the shard, and flushed that
	}
	return err
}

// shardFiles calls fn for every file of a kind: kind/<algorithm>/<2>/<name>.
// What vanishes meanwhile is skipped.
func (s *Store) shardFiles(kind, algorithm string, fn func(path, name string) error) error {
	top := s.path(kind, algorithm)
	shards, err := os.ReadDir(top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, shard := range shards {
		dir := filepath.Join(top, shard.Name())
		names, err := readNames(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := fn(filepath.Join(dir, name), name); err != nil {
				return err
			}
		}
	}
	return nil
}

// readNames lists a directory unsorted; one that is gone or a file has no names.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // removed between open and read: getdents(2) says ENOENT
	}
	return names, errors.Join(err, f.Close())
}
