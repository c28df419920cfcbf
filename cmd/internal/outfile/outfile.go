// SPDX-License-Identifier: Apache-2.0

// Package outfile writes the files that a tool was asked for: under another
// name beside the final one, which they take when they are complete. A tool
// that is killed leaves a hidden file and never half of an image.
package outfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Options of Create.
type Options struct {
	// Overwrite allows to replace a file. A link stays and its target is replaced.
	Overwrite bool
	// Prefix begins the temporary name, which goes on with the file's own.
	Prefix string
	// Temp is the whole temporary name, for a caller that removes what it left
	// there itself. Prefix does not count then.
	Temp string
	// Mode is what the file gets whatever the umask. The zero value means
	// 0644 without what the umask takes away.
	Mode fs.FileMode
}

// File is a file being written. It may be read, too.
type File struct {
	*os.File
	path      string
	overwrite bool
	mode      fs.FileMode
}

// Create starts writing path. If that exists and may not be replaced the error
// is fs.ErrExist. The caller calls Finish.
func Create(path string, o Options) (*File, error) {
	if err := Check(path, o.Overwrite); err != nil {
		return nil, err
	}
	if o.Overwrite {
		target, err := filepath.EvalSymlinks(path)
		switch {
		case err == nil:
			path = target
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			return nil, &fs.PathError{Op: "create", Path: path, Err: unix.EISDIR}
		}
	}
	name := o.Temp
	if name == "" {
		name = o.Prefix + filepath.Base(path) + "-" + rand.Text()[:10]
	}
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &File{f, path, o.Overwrite, o.Mode}, nil
}

// Check returns fs.ErrExist if path exists and may not be replaced.
func Check(path string, overwrite bool) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !overwrite:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return err
}

// KeepMode gives the file mode and, if the caller may do that, owner of the
// one that it replaces.
func (f *File) KeepMode() error {
	var st unix.Stat_t
	if err := unix.Stat(f.path, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	f.mode = fs.FileMode(st.Mode & 0o777)
	return nil
}

// Finish flushes the file and gives it its name, or removes it if err is set.
// It returns err or what went wrong itself.
func (f *File) Finish(err error) error {
	if err == nil && f.mode != 0 {
		err = f.Chmod(f.mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = Rename(f.Name(), f.path, f.overwrite)
	}
	if err != nil {
		return errors.Join(err, Remove(f.Name()))
	}
	return nil
}

// Rename renames a file or directory, replacing another file only with overwrite.
func Rename(from, to string, overwrite bool) error {
	if overwrite {
		return os.Rename(from, to)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // a file system without RENAME_NOREPLACE
		err = os.Rename(from, to)
	}
	if err != nil {
		return &fs.PathError{Op: "rename", Path: to, Err: err}
	}
	return nil
}

// Remove removes a file that may not be there.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
