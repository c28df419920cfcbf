// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/rand"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/compression"
)

// output is an image being written under a temporary name.
type output struct {
	file      *os.File
	path      string
	overwrite bool
}

// tempName returns a name beside path that no other process has.
func tempName(path string) string {
	return filepath.Join(filepath.Dir(path), ".actool-tmp."+filepath.Base(path)+"-"+rand.Text()[:10])
}

// createOutput starts writing path. If it exists and may not be overwritten,
// the error is fs.ErrExist.
func createOutput(path string, overwrite bool) (*output, error) {
	_, err := os.Lstat(path)
	switch {
	case err == nil && !overwrite:
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case err == nil:
		// A link given as the output stays one.
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(tempName(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{file: f, path: path, overwrite: overwrite}, nil
}

// keepMode gives the output mode and, if the caller may do that, owner of the
// file that it replaces.
func (o *output) keepMode(info fs.FileInfo) error {
	var st unix.Stat_t
	if err := unix.Stat(o.path, &st); err != nil {
		return err
	}
	if err := o.file.Chown(int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return o.file.Chmod(info.Mode().Perm())
}

// finish flushes the file and gives it its name, or removes it if err is set.
// It returns err or what went wrong itself.
func (o *output) finish(err error) error {
	if err == nil {
		err = o.file.Sync()
	}
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = o.rename()
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(o.file.Name())))
	}
	return nil
}

func (o *output) rename() error {
	if o.overwrite {
		return os.Rename(o.file.Name(), o.path)
	}
	err := unix.Renameat2(unix.AT_FDCWD, o.file.Name(), unix.AT_FDCWD, o.path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // a file system without RENAME_NOREPLACE
		err = os.Rename(o.file.Name(), o.path)
	}
	if err != nil {
		return &fs.PathError{Op: "rename", Path: o.path, Err: err}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// bindCompression binds --compression and --no-compression; the last one counts.
func bindCompression(fs *flag.FlagSet, kind *compression.Type) {
	*kind = compression.Gzip
	fs.Func("compression", "compress with `METHOD`: gzip, zstd or none", func(s string) error {
		switch t := compression.Type(s); {
		case s == "none":
			*kind = compression.None
		case t == compression.Gzip, t == compression.Zstd:
			*kind = t
		default:
			return errors.New("must be gzip, zstd or none")
		}
		return nil
	})
	fs.BoolFunc("no-compression", "write a plain tar", func(s string) error {
		plain, err := strconv.ParseBool(s)
		switch {
		case err != nil:
			return errors.New("must be true or false")
		case plain:
			*kind = compression.None
		}
		return nil
	})
}

// compressTo calls fn with a writer that compresses to w.
func compressTo(w io.Writer, kind compression.Type, fn func(io.Writer) error) error {
	z, err := compression.NewWriter(w, kind)
	if err != nil {
		return err
	}
	if err := fn(z); err != nil {
		return err
	}
	return z.Close()
}

// checkExtension refuses outputs that are not called .aci.
func checkExtension(path string) error {
	if ext := filepath.Ext(path); ext != ".aci" {
		return message("Extension must be .aci (given %s)", ext)
	}
	return nil
}
