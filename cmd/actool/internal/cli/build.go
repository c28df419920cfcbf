// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
)

type buildOptions struct {
	overwrite, ownerRoot bool
	compression          compression.Spec
}

func newBuild() command {
	var o buildOptions
	return command{
		name: "build", args: "DIR FILE.aci", summary: "Build an image from an image layout",
		description: "Packs DIR/manifest and DIR/rootfs into the image FILE.aci.\n" +
			"With SOURCE_DATE_EPOCH in the environment no time in the image is later than that,\n" +
			"so that equal layouts give equal images.",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.overwrite, "overwrite", false, "replace FILE.aci if it exists")
			bindCompression(fs, &o.compression)
			fs.BoolVar(&o.ownerRoot, "owner-root", false, "make root the owner of everything in the image")
		},
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runBuild(ctx, d, o, args); err != nil {
				return fmt.Errorf("build: %w", err)
			}
			return nil
		},
	}
}

func runBuild(ctx context.Context, d *Deps, o buildOptions, args []string) error {
	if len(args) != 2 {
		return message("Must provide directory and output file")
	}
	dir, target := args[0], args[1]
	if err := checkExtension(target); err != nil {
		return err
	}
	build, err := sourceDate(d, o)
	if err != nil {
		return err
	}
	m, err := loadLayout(d, dir)
	if err != nil {
		return err
	}
	out, err := createOutput(target, o.overwrite)
	if errors.Is(err, fs.ErrExist) {
		return message("Target file exists (try --overwrite)")
	}
	if err != nil {
		return message("Unable to open target %s: %w", target, err)
	}
	err = o.compression.Compress(out, func(w io.Writer) error {
		return aci.BuildLayout(ctx, w, dir, m, build)
	})
	if err != nil {
		return message("Error walking rootfs: %w", out.Finish(err))
	}
	if err := out.Finish(nil); err != nil {
		return message("Unable to close image %s: %w", target, err)
	}
	d.debugf("build: wrote %s", target)
	return nil
}

func loadLayout(d *Deps, dir string) (*appc.ImageManifest, error) {
	m, err := aci.ValidateLayout(dir)
	var old *aci.OldVersionError
	switch {
	case errors.As(err, &old):
		d.complain("build: Warning: %v. Please update your manifest.", err)
	case err != nil:
		return nil, message("Layout failed validation: %w", err)
	}
	return m, nil
}

// sourceDate honours https://reproducible-builds.org/specs/source-date-epoch/.
func sourceDate(d *Deps, o buildOptions) (aci.BuildOptions, error) {
	b := aci.BuildOptions{OwnerRoot: o.ownerRoot, ModTime: d.Now()}
	text := d.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return b, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return b, message("SOURCE_DATE_EPOCH=%q is not a number of seconds", text)
	}
	b.ModTime, b.ClampTimes = time.Unix(seconds, 0), true
	return b, nil
}
