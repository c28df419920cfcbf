// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/imagestore"
)

type imageFsckOptions struct {
	repair bool
	format formatFlag
}

func newImageFsck(d *Deps) *cobra.Command {
	var o imageFsckOptions
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check the local store",
		Long: "Compares the images, their files, their trees and the index with each other and verifies every digest. " +
			"With --repair what can be derived is made anew, and images that are damaged beyond that are removed: fetch them again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runImageFsck(cmd.Context(), d, o) },
	}
	cmd.Flags().BoolVar(&o.repair, "repair", false, "repair what can be repaired")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

func runImageFsck(ctx context.Context, d *Deps, o imageFsckOptions) error {
	trees, err := d.Trees(ctx)
	if err != nil {
		return err
	}
	l, err := d.lockTrees(ctx, lock.Shared)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	report, err := trees.Fsck(ctx, o.repair)
	if err != nil {
		return err
	}
	if err := printFsck(d, report, o.format); err != nil {
		return err
	}
	if report.Clean() {
		return nil
	}
	if !o.repair {
		return hint.With(errors.New("the store has problems"), `repair them with "rkt image fsck --repair"`)
	}
	return errors.New("the store has problems that cannot be repaired")
}

func printFsck(d *Deps, r *imagestore.Report, format formatFlag) error {
	if format != formatTable {
		return d.printJSON(r, format == formatJSONPretty)
	}
	for _, p := range r.Problems {
		line := fmt.Sprintf("%s: %s: %s", p.Kind, p.Subject, p.Detail)
		if p.Repaired {
			line += " (repaired: " + p.Repair + ")"
		}
		if err := d.printf("%s", oneLine(line)); err != nil {
			return err
		}
	}
	for _, g := range r.Garbage {
		note := "leftover"
		if g.Removed {
			note = "removed leftover"
		}
		if err := d.printf("%s: %s", note, g.Path); err != nil {
			return err
		}
	}
	return d.printf("%d image(s), %d blob(s), %d tree(s) checked, %d problem(s)", r.Images, r.Blobs, r.Trees, len(r.Problems))
}
