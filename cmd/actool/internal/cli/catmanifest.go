// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
)

type catManifestOptions struct{ prettyPrint bool }

func newCatManifest() command {
	var o catManifestOptions
	return command{
		name: "cat-manifest", args: "FILE", summary: "Print the image manifest of an image",
		description: "Prints the manifest of the image FILE as it is stored.",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.prettyPrint, "pretty-print", false, "print it indented, in canonical form")
		},
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runCatManifest(ctx, d, o, args); err != nil {
				return fmt.Errorf("cat-manifest: %w", err)
			}
			return nil
		},
	}
}

func runCatManifest(ctx context.Context, d *Deps, o catManifestOptions, args []string) error {
	if len(args) != 1 {
		return message("Must provide one file")
	}
	path := args[0]
	f, err := os.Open(path)
	if err != nil {
		return message("Cannot open %s: %w", path, err)
	}
	defer func() { _ = f.Close() }() // only read
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return message("Cannot extract %s: %w", path, err)
	}
	m, raw, err := aci.ManifestFrom(plain)
	err = errors.Join(err, plain.Close())
	if raw != nil && !o.prettyPrint {
		if _, werr := fmt.Fprintf(d.Stdout, "%s\n", raw); werr != nil {
			return werr
		}
	}
	if err != nil {
		return message("Unable to read %s: %w", path, err)
	}
	if !o.prettyPrint {
		return nil
	}
	return printIndented(d, m)
}

func printIndented(d *Deps, m *appc.ImageManifest) error {
	compact, err := m.Marshal()
	if err != nil {
		return err
	}
	pretty, err := appc.Indent(compact, "", "    ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.Stdout, "%s\n", pretty)
	return err
}
