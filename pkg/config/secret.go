// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSecret bounds the file of a password or token.
const maxSecret = 64 << 10

// readSecret fills secret from file if that is given in its place. field is
// the name of the secret; that of the file has "File" behind it.
func readSecret(secret *string, file, field string) error {
	switch {
	case file == "":
		return nil
	case *secret != "":
		return fmt.Errorf("both %s and %sFile specified", field, field)
	case !filepath.IsAbs(file):
		return fmt.Errorf("%sFile must be an absolute path", field)
	}
	data, err := readSmall(file)
	if err != nil {
		return fmt.Errorf("%sFile: %w", field, err)
	}
	if *secret = strings.TrimSuffix(strings.TrimSuffix(data, "\n"), "\r"); *secret == "" {
		return fmt.Errorf("%sFile: %s is empty", field, file)
	}
	return nil
}

// readSmall reads a regular file; O_NONBLOCK keeps a fifo from blocking the open.
func readSmall(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("%s has more than %d bytes", path, maxSecret)
	}
	return string(data), nil
}
