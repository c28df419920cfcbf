// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

// writeOutput makes the file path of what write writes, mode 0644. The file
// appears under its name when it is complete; what is left of a failed
// attempt is removed. A failure to finish a file that was written has the
// exit status 1.
func writeOutput(path string, write func(io.Writer) error) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return writeDevice(path, write)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("cannot open output file: %w", err)
	}
	done := false
	defer func() {
		if !done {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := finish(f, path); err != nil {
		return &statusError{statusLegacy, fmt.Errorf("cannot finish output file: %w", err)}
	}
	done = true
	return nil
}

func finish(f *os.File, path string) error {
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// writeDevice writes to what is not a regular file: a pipe, a terminal.
func writeDevice(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot open output file: %w", err)
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return &statusError{statusLegacy, fmt.Errorf("cannot finish output file: %w", err)}
	}
	return nil
}

// exists tells whether path names anything.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// outputDir makes the new directory dir of what fill puts into an empty one
// beside it. An existing dir is replaced if overwrite is set, never "/".
func outputDir(dir string, overwrite bool, fill func(dir string) error) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if dir == "/" {
		return errors.New("this would delete your root filesystem. Refusing.") //nolint:revive,staticcheck // a literal scripts match on
	}
	found, err := exists(dir)
	if err != nil {
		return fmt.Errorf("cannot use output directory: %w", err)
	}
	if found && !overwrite {
		return errors.New("output directory exists (try --overwrite)")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("cannot make output directory: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".")
	if err != nil {
		return fmt.Errorf("cannot make output directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	content := filepath.Join(tmp, "new")
	if err := os.Mkdir(content, 0o755); err != nil {
		return fmt.Errorf("cannot make output directory: %w", err)
	}
	if err := fill(content); err != nil {
		return err
	}
	if found {
		if err := os.Rename(dir, filepath.Join(tmp, "old")); err != nil {
			return fmt.Errorf("cannot replace output directory: %w", err)
		}
	}
	return os.Rename(content, dir)
}
