// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletion(d *Deps) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Output shell completion code for the specified shell",
		Long: "This command outputs completion code for the specified shell: bash, zsh or fish. The generated code must be evaluated to provide " +
			"interactive completion of rkt sub-commands, flags, pods, apps, images and networks, for example:\n\n\t$ . <(rkt completion bash)\n\n" +
			"The code for bash needs the package bash-completion.",
		RunE: func(cmd *cobra.Command, args []string) error { return runCompletion(d, cmd.Root(), args) },
	}
}

func runCompletion(d *Deps, root *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return errors.New("shell type is not specified")
	case len(args) > 1:
		return errors.New("too many arguments, only shell type is expected")
	}
	switch args[0] {
	case "bash":
		return root.GenBashCompletionV2(d.Stdout, true)
	case "zsh":
		return root.GenZshCompletion(d.Stdout)
	case "fish":
		return root.GenFishCompletion(d.Stdout, true)
	}
	return fmt.Errorf("'%s' shell is not supported", args[0])
}
