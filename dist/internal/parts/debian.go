// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Package is a Debian package that files of a stage1 image come from.
type Package struct {
	Name, Version string
	Copyright     string // its file of that name
}

const (
	packagesFile = "rootfs/usr/share/rkt/packages"
	docDir       = "rootfs/usr/share/doc/"
	maxText      = 4 << 20
)

// Packages are the Debian packages in a stage1 image, in the image's order,
// with the terms that the image has of each.
func Packages(image string) ([]Package, error) {
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	list, texts := "", map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", image, err)
		}
		name, isText := strings.CutSuffix(strings.TrimPrefix(h.Name, docDir), "/copyright")
		if h.Name != packagesFile && !isText {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(r, maxText))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", image, err)
		}
		if h.Name == packagesFile {
			list = string(data)
		} else {
			texts[name] = string(data)
		}
	}
	return packages(list, texts)
}

func packages(list string, texts map[string]string) ([]Package, error) {
	var all []Package
	for line := range strings.Lines(list) {
		name, version, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return nil, fmt.Errorf("%q is no package with its version", line)
		}
		if texts[name] == "" {
			return nil, fmt.Errorf("the image has no terms of package %s", name)
		}
		all = append(all, Package{name, version, texts[name]})
	}
	if len(all) == 0 {
		return nil, errors.New("the image lists no packages")
	}
	return all, nil
}
