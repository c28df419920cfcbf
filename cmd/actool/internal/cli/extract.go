// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

type extractOptions struct {
	overwrite, rootFSOnly, dryRun bool
}

func newExtract() command {
	var o extractOptions
	return command{
		name: "extract", args: "FILE.aci DIR", summary: "Unpack an image",
		description: "Unpacks FILE.aci into the new directory DIR, without its dependencies.\n" +
			"Whoever is not root owns all files of DIR and gets no device nodes.",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.overwrite, "overwrite", false, "remove DIR first if it exists")
			fs.BoolVar(&o.rootFSOnly, "rootfs-only", false, "put the content of rootfs directly into DIR, without the manifest")
			fs.BoolVar(&o.dryRun, "dry-run", false, "validate FILE.aci and list what is in it")
		},
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runExtract(ctx, d, o, args); err != nil {
				return fmt.Errorf("extract: %w", err)
			}
			return nil
		},
	}
}

func runExtract(ctx context.Context, d *Deps, o extractOptions, args []string) error {
	if len(args) != 2 && (len(args) != 1 || !o.dryRun) {
		return errors.New("must provide image file and output directory")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", args[0], err)
	}
	defer func() { _ = f.Close() }() // only read
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return fmt.Errorf("cannot extract %s: %w", args[0], err)
	}
	defer func() { _ = plain.Close() }() // only read
	if o.dryRun {
		err = list(d, o, plain)
	} else {
		err = unpack(ctx, d, o, plain, args[1])
	}
	if err != nil {
		return fmt.Errorf("error extracting ACI %s: %w", args[0], err)
	}
	return nil
}

func list(d *Deps, o extractOptions, r io.Reader) error {
	_, err := aci.List(r, func(name string, _ *tar.Header) error {
		if o.rootFSOnly {
			var err error
			if name, err = filepath.Rel(aci.RootFSName, name); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(d.Stdout, "%q\n", name)
		return err
	})
	if err != nil || o.rootFSOnly {
		return err
	}
	_, err = fmt.Fprintf(d.Stdout, "%q\n", aci.ManifestName)
	return err
}

// unpack fills a directory beside dir and renames it when it is complete.
func unpack(ctx context.Context, d *Deps, o extractOptions, r io.Reader, dir string) error {
	if err := checkTarget(dir, o.overwrite); err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(dir), tempPrefix+filepath.Base(dir)+"-"+rand.Text()[:10])
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	err := fill(ctx, d, o, r, temp)
	if err == nil {
		err = putInPlace(temp, dir, o)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

func checkTarget(dir string, overwrite bool) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !overwrite {
		return errors.New("output directory exists (try --overwrite)")
	}
	root, err := os.Stat("/")
	if err != nil {
		return err
	}
	if os.SameFile(info, root) {
		return message("this would delete your root filesystem. Refusing.")
	}
	return nil
}

// fill makes temp/rootfs and temp/manifest.
func fill(ctx context.Context, d *Deps, o extractOptions, r io.Reader, temp string) error {
	rootfs := filepath.Join(temp, aci.RootFSName)
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return err
	}
	unpack := unpackAsRoot
	if os.Geteuid() != 0 {
		unpack = d.unpackAsUser
	}
	manifest, err := unpack(ctx, r, rootfs)
	if err != nil || o.rootFSOnly {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(temp, aci.ManifestName), manifest, 0o644)
}

// unpackAsRoot returns the manifest.
func unpackAsRoot(ctx context.Context, r io.Reader, rootfs string) ([]byte, error) {
	res, err := layer.Unpack(ctx, r, rootfs, layer.UnpackOptions{ACI: true, Limits: layer.DefaultLimits()})
	if err != nil {
		return nil, err
	}
	if _, err := appc.ParseImageManifest(res.Manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", aci.ErrInvalidManifest, err)
	}
	return res.Manifest, nil
}

func (d *Deps) unpackAsUser(ctx context.Context, r io.Reader, rootfs string) ([]byte, error) {
	res, err := aci.Extract(ctx, r, rootfs, aci.ExtractOptions{MaxBytes: layer.DefaultLimits().Bytes})
	if err != nil {
		return nil, err
	}
	if res.Skipped > 0 {
		d.complain("extract: warning: left out %d device nodes, which only root can make", res.Skipped)
	}
	return res.Manifest, nil
}

func putInPlace(temp, dir string, o extractOptions) error {
	if o.overwrite {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if !o.rootFSOnly {
		return os.Rename(temp, dir)
	}
	if err := os.Rename(filepath.Join(temp, aci.RootFSName), dir); err != nil {
		return err
	}
	return os.Remove(temp)
}
