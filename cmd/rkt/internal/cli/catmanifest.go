// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
)

type catManifestOptions struct {
	uuid     string
	uuidFile string
	pretty   bool
}

func newCatManifest(d *Deps) *cobra.Command {
	var o catManifestOptions
	cmd := &cobra.Command{
		Use:   "cat-manifest UUID",
		Short: "Inspect and print the pod manifest",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("uuid-file") {
				return nil // arguments are ignored then
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.uuidFile == "" {
				o.uuid = args[0]
			}
			return runCatManifest(cmd.Context(), d, o)
		},
	}
	uuidFileFlag(cmd, &o.uuidFile)
	cmd.Flags().BoolVar(&o.pretty, "pretty-print", true, "apply indent to format the output")
	return cmd
}

func runCatManifest(ctx context.Context, d *Deps, o catManifestOptions) error {
	p, err := retrievePodOrFile(ctx, d, o.uuid, o.uuidFile)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	m, err := p.Manifest()
	if err != nil {
		return fmt.Errorf("cannot read manifest of pod %q: %w", p.UUID(), err)
	}
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	return d.printManifest(data, o.pretty)
}

// printManifest prints compact JSON as it is or indented by tabs.
func (d *Deps) printManifest(compact []byte, pretty bool) error {
	if pretty {
		var err error
		if compact, err = appc.Indent(compact, "", "\t"); err != nil {
			return err
		}
	}
	return d.writeOut(string(compact) + "\n")
}
