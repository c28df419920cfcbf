// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// modify applies the command to an image file.
func (c *call) modify(ctx context.Context) error {
	file, mode := c.global.modify, modeAppc
	if file == "" {
		file, mode = c.global.modifyOCI, modeOCI
	}
	if c.cmd.alone {
		return message("Can't use the --modify flag with %s.", c.name())
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return message("ACI doesn't appear to exist: %s.", file)
	case err != nil:
		return err
	case info.IsDir():
		return message("ACI to modify is a directory: %s.", file)
	}
	switch {
	case mode == modeOCI:
	case c.cmd.name == "cat-manifest":
		return c.catFile(ctx, file)
	case c.cmd.edit != nil:
		return c.patchFile(ctx, file)
	}
	return c.modifyTree(ctx, file, mode)
}

// catFile shows the manifest of an image file.
func (c *call) catFile(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	m, _, err := aci.ManifestFrom(ctxReader{ctx, f})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return c.cmd.edit(c, m)
}

// patchFile changes the manifest of an image file; everything else stays as it
// is, whoever owns it.
func (c *call) patchFile(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	temp := modifiedName(file)
	if err := outfile.Remove(temp); err != nil { // of one that was killed
		return err
	}
	out, err := outfile.Create(file, outfile.Options{Overwrite: true, Temp: filepath.Base(temp), Mode: 0o644})
	if err != nil {
		return err
	}
	err = compression.Spec{Type: compression.Gzip}.Compress(out, func(w io.Writer) error {
		return aci.Patch(w, plain, func(raw []byte) ([]byte, error) {
			m, err := appc.ParseImageManifest(raw)
			if err != nil {
				return nil, err
			}
			if err := c.change(m); err != nil {
				return nil, err
			}
			return m.Marshal()
		})
	})
	return out.Finish(errors.Join(err, plain.Close()))
}

// modifiedName is where the changed image is written.
func modifiedName(file string) string {
	return filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".tmp")
}

// modifyTree unpacks an image file into a build of its own, runs the command
// there and writes the image again.
func (c *call) modifyTree(ctx context.Context, file, mode string) (err error) {
	dir, err := os.MkdirTemp("", "acbuild-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, imagestore.RemoveTree(dir)) }()
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	deps := *c.Deps
	deps.global.workPath, deps.global.modify, deps.global.modifyOCI = dir, "", ""
	begin := &call{Deps: &deps, words: []string{"begin"}, args: []string{path}}
	if err := begin.begin(ctx, beginOptions{mode: mode}); err != nil {
		return err
	}
	inner := *c
	inner.Deps = &deps
	if err := inner.do(ctx); err != nil {
		return err
	}
	if !c.cmd.modifies {
		return nil
	}
	return inner.withBuild(func(b *build) error { return inner.writeModified(ctx, b, path, mode) })
}

// writeModified writes an image beside the file that it then replaces.
func (c *call) writeModified(ctx context.Context, b *build, path, mode string) error {
	m, err := b.manifest()
	if err != nil {
		return err
	}
	build, err := c.buildOptions(b)
	if err != nil {
		return err
	}
	temp := modifiedName(path)
	o := writeOptions{overwrite: true, compression: compression.Spec{Type: compression.Gzip}, format: formatACI}
	if mode == modeOCI {
		o.format = formatOCIArchive
		_, err = c.writeOCI(ctx, b, m, temp, o, build)
	} else {
		_, err = writeACI(ctx, b, m, temp, o, build)
	}
	if err != nil {
		return b.explainWrite(err, path)
	}
	return os.Rename(temp, path)
}
