// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

// Bounds of the list of data directories.
const (
	maxDirs     = 64
	maxDirsFile = 64 << 10
)

// dirList is the list of data directories that have had registered pods: where
// a service that was restarted looks for them. It is safe for concurrent use.
type dirList struct {
	path string
	mu   sync.Mutex
	dirs []string
}

// openDirs reads the list at path. Own is the data directory of the service.
func openDirs(path, own string) (*dirList, error) {
	l := &dirList{path: path}
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		defer func() { _ = f.Close() }()
		data, err := io.ReadAll(io.LimitReader(f, maxDirsFile))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			dir, whole := strings.CutSuffix(line, "\n")
			if whole && filepath.IsAbs(dir) && len(l.dirs) < maxDirs {
				l.dirs = append(l.dirs, dir)
			}
		}
	}
	if !slices.Contains(l.dirs, own) {
		l.dirs = append([]string{own}, l.dirs...) // need not be written: it is known
	}
	return l, nil
}

func (l *dirList) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.dirs)
}

// add puts a directory on the list, which is on disk when it returns.
func (l *dirList) add(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.dirs, dir) {
		return nil
	}
	if len(l.dirs) >= maxDirs || strings.ContainsRune(dir, '\n') {
		return fmt.Errorf("cannot remember one more data directory (%d are known)", len(l.dirs))
	}
	dirs := append(slices.Clone(l.dirs), dir)
	if err := atomicfile.WriteNoSync(l.path, []byte(strings.Join(dirs, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	l.dirs = dirs
	return nil
}
