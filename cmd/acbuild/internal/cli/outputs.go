// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/store/imagestore"
)

const (
	// outputFile has the path of what write is making, so that the next command
	// can remove it if write is killed.
	outputFile   = "output"
	outputPrefix = ".acbuild-tmp-"
)

// noteOutput returns a name beside target and writes it down.
func (b *build) noteOutput(target string) (string, error) {
	path, err := filepath.Abs(target)
	if err != nil {
		return "", err
	}
	temp := filepath.Join(filepath.Dir(path), outputPrefix+rand.Text()[:10])
	return temp, atomicfile.WriteNoSync(b.path(outputFile), []byte(temp), 0o600)
}

func (b *build) forgetOutput() error { return outfile.Remove(b.path(outputFile)) }

// createOutput starts writing an image. forgetOutput ends it.
func (b *build) createOutput(target string, overwrite bool) (*outfile.File, error) {
	if err := outfile.Check(target, overwrite); err != nil {
		return nil, err
	}
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	temp, err := b.noteOutput(target)
	if err != nil {
		return nil, err
	}
	f, err := outfile.Create(target, outfile.Options{Overwrite: overwrite, Temp: filepath.Base(temp), Mode: 0o644})
	if err != nil {
		return nil, errors.Join(err, b.forgetOutput())
	}
	return f, nil
}

// removeOutput removes what a write left that was killed. The note is no reason
// to remove anything that is not called like one.
func (b *build) removeOutput() error {
	data, err := os.ReadFile(b.path(outputFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if temp := string(data); filepath.IsAbs(temp) && strings.HasPrefix(filepath.Base(temp), outputPrefix) {
		if err := imagestore.RemoveTree(temp); err != nil {
			return err
		}
	}
	return b.forgetOutput()
}
