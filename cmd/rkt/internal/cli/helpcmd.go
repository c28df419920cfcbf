// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newHelp(d *Deps) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.writeOut(runHelp(d, cmd.Root(), args))
		},
	}
}

// runHelp is the text for the words after "help". Unknown words get a note on
// stderr and the help of rkt.
func runHelp(d *Deps, root *cobra.Command, words []string) string {
	cmd := root
	for _, word := range words {
		next := child(cmd, word)
		if next == nil {
			d.writeErr(fmt.Sprintf("Unknown help topic %q\n", strings.Join(words, " ")))
			return d.help(root)
		}
		cmd = next
	}
	return d.help(cmd)
}
