// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

type configOptions struct {
	pretty bool
	redact bool
}

func newConfig(d *Deps) *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print configuration for each stage in JSON format",
		Long:  "Prints the merged configuration. Each element of the list is a valid configuration file. Passwords are in clear text unless --redact is given.",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runConfig(d, o) },
	}
	cmd.Flags().BoolVar(&o.pretty, "pretty-print", true, "apply indent to format the output")
	cmd.Flags().BoolVar(&o.redact, "redact", false, "replace passwords, tokens and secret keys")
	return cmd
}

func runConfig(d *Deps, o configOptions) error {
	c, err := d.loadConfig()
	if err != nil {
		return err
	}
	out, err := c.Print(o.pretty, o.redact)
	if err != nil {
		return err
	}
	return d.writeOut(string(out) + "\n")
}
