// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha512"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/ociarchive"
)

type convertOptions struct {
	to        string
	overwrite bool
}

// convertForm is what a value of --to means.
func convertForm(to string) (ociarchive.Format, error) {
	switch to {
	case "oci", "oci-archive":
		return ociarchive.OCI, nil
	case "docker-archive":
		return ociarchive.Docker, nil
	}
	return "", fmt.Errorf("--to=%s: must be oci or docker-archive", to)
}

func newConvert() command {
	var o convertOptions
	return command{
		name: "convert", args: "FILE.aci OUT.tar", summary: "Convert an image to an OCI image",
		description: "Writes the archive of an OCI image layout with one layer, which begins with oci-archive: for\n" +
			"rkt, or what \"docker load\" reads. An image with dependencies or a path whitelist cannot be\n" +
			"converted; isolators and event handlers are left out. Equal images give equal archives.",
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&o.to, "to", "oci", "write `FORM`: oci or docker-archive")
			fs.BoolVar(&o.overwrite, "overwrite", false, "replace OUT.tar if it exists")
		},
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runConvert(ctx, d, o, args); err != nil {
				return fmt.Errorf("convert: %w", err)
			}
			return nil
		},
	}
}

func runConvert(ctx context.Context, d *Deps, o convertOptions, args []string) error {
	if len(args) != 2 {
		return errors.New("must provide image file and output file")
	}
	format, err := convertForm(o.to)
	if err != nil {
		return err
	}
	layer, err := os.CreateTemp("", "actool-")
	if err != nil {
		return err
	}
	// Without a name it is gone however this ends.
	if err := os.Remove(layer.Name()); err != nil {
		return errors.Join(err, layer.Close())
	}
	defer func() { _ = layer.Close() }() // nobody needs what it has
	image, err := readConverted(ctx, args[0], layer)
	if err != nil {
		return fmt.Errorf("cannot convert %s: %w", args[0], err)
	}
	out, err := createOutput(args[1], o.overwrite)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("output file exists (try --overwrite)")
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", args[1], err)
	}
	if err := out.Finish(ociarchive.Write(out, image, format)); err != nil {
		return fmt.Errorf("cannot write %s: %w", args[1], err)
	}
	_, err = fmt.Fprintln(d.Stdout, image.Manifest.Digest)
	return err
}

// readConverted reads the image twice: nothing is made of one that is not valid.
func readConverted(ctx context.Context, path string, layer *os.File) (*ociarchive.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	valid := sha512.New()
	m, err := readOnce(ctx, f, func(plain io.Reader) (*appc.ImageManifest, error) {
		in := io.TeeReader(plain, valid)
		m, err := aci.Validate(in)
		var old *aci.OldVersionError
		if err != nil && !errors.As(err, &old) {
			return nil, err
		}
		_, err = io.Copy(io.Discard, in)
		return m, err
	})
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var image *ociarchive.Image
	again := sha512.New()
	_, err = readOnce(ctx, f, func(plain io.Reader) (_ *appc.ImageManifest, err error) {
		image, err = ociarchive.FromACI(m, io.TeeReader(plain, again), layer)
		return m, err
	})
	if err == nil && string(valid.Sum(nil)) != string(again.Sum(nil)) {
		err = errors.New("the file was changed meanwhile")
	}
	if err != nil {
		return nil, err
	}
	image.Reference = m.Name.String()
	if version, ok := m.Labels.Get("version"); ok {
		image.Reference += ":" + version
	}
	return image, nil
}

func readOnce(ctx context.Context, f io.Reader, fn func(io.Reader) (*appc.ImageManifest, error)) (*appc.ImageManifest, error) {
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return nil, err
	}
	m, err := fn(plain)
	return m, errors.Join(err, plain.Close())
}
