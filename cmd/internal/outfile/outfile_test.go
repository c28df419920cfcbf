// SPDX-License-Identifier: Apache-2.0

package outfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path, content string, o Options, fault error) error {
	t.Helper()
	f, err := Create(path, o)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return f.Finish(fault)
}

func check(t *testing.T, path, content string, mode fs.FileMode, entries int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != content {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := os.Stat(path); err != nil || mode != 0 && info.Mode().Perm() != mode {
		t.Errorf("%v, %v", info, err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != entries {
		t.Errorf("%v, %v", list, err)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := write(t, path, "one", Options{Mode: 0o640}, nil); err != nil {
		t.Fatal(err)
	}
	check(t, path, "one", 0o640, 1)
	if err := write(t, path, "two", Options{}, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replaced: %v", err)
	}
	fault := errors.New("fault")
	if err := write(t, path, "two", Options{Overwrite: true}, fault); !errors.Is(err, fault) {
		t.Error(err)
	}
	check(t, path, "one", 0o640, 1)
	link := filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if err := write(t, link, "two", Options{Overwrite: true}, nil); err != nil {
		t.Fatal(err)
	}
	check(t, path, "two", 0, 2)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if err := write(t, dir, "x", Options{Overwrite: true}, nil); err == nil {
		t.Error("replaced a directory")
	}
}

// A file that appeared meanwhile is not replaced.
func TestRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	check(t, path, "other", 0o600, 1)
}

func TestKeepMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path, Options{Overwrite: true, Temp: ".temp"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(f.KeepMode()); err != nil {
		t.Fatal(err)
	}
	check(t, path, "", 0o600, 1)
}
