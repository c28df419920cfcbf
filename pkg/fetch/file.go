// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// fromFile imports a local archive, afresh each time. signature is a file, or
// empty for the one beside the archive.
func (r *run) fromFile(ctx context.Context, path, signature string) (appc.ImageID, error) {
	r.debug("using image from file %s", path)
	var v *verifier
	if r.mustVerify() {
		if signature == "" {
			signature = signatureFile(path)
		}
		var err error
		if v, err = r.verifierOfFile(signature); err != nil {
			return "", err
		}
	}
	f, err := openRegular(path)
	if err != nil {
		return "", fmt.Errorf("error opening ACI file: %w", err)
	}
	defer f.Close()
	id, err := r.Store.ImportACI(ctx, v.reader(until(ctx, f)), ImportOptions{Accept: v.accepter()})
	var refused *verifyError
	switch {
	case errors.As(err, &refused):
		return "", err // says which image
	case err != nil:
		return "", fmt.Errorf("import %s: %w", path, err)
	}
	return id, nil
}

var errNotRegular = errors.New("not a regular file")

// openRegular opens a file for reading. O_NONBLOCK keeps a fifo from blocking
// the open; it means nothing for regular files.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := mustBeRegular(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func mustBeRegular(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return &os.PathError{Op: "open", Path: f.Name(), Err: errNotRegular}
	}
	return nil
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// until makes a long read of a file end when ctx does.
func until(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}
