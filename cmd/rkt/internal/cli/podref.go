// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
)

// uuidFileFlag binds --uuid-file.
func uuidFileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().Var((*fileFlag)(file), "uuid-file", "read pod UUID from file instead of argument")
}

// fileFlag is the path of a file that is read. An empty one, of a variable that
// was not set, is refused and not taken for a flag that was not given.
type fileFlag string

func (f *fileFlag) Set(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	*f = fileFlag(s)
	return nil
}

func (f *fileFlag) String() string { return string(*f) }
func (f *fileFlag) Type() string   { return "string" }

// oneUUIDArg takes the UUID from the arguments or the file, not both.
func oneUUIDArg(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("uuid-file") {
		return cobra.NoArgs(cmd, args)
	}
	return cobra.ExactArgs(1)(cmd, args)
}

// someUUIDArgs takes UUIDs from the arguments or one from the file, not both.
func someUUIDArgs(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("uuid-file") {
		return cobra.NoArgs(cmd, args)
	}
	return cobra.MinimumNArgs(1)(cmd, args)
}

// readUUIDFile reads what --uuid-file-save wrote.
func readUUIDFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("unable to resolve UUID from file: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// openPod opens the one pod whose UUID begins with prefix.
func openPod(ctx context.Context, d *Deps, prefix string) (*pod.Pod, error) {
	dir, err := d.DataDir()
	if err != nil {
		return nil, err
	}
	uuid, err := pod.Resolve(ctx, dir, prefix)
	if err != nil {
		return nil, err
	}
	return pod.Open(ctx, dir, uuid)
}

// retrievePod is openPod for commands on one pod.
func retrievePod(ctx context.Context, d *Deps, prefix string) (*pod.Pod, error) {
	p, err := openPod(ctx, d, prefix)
	if err != nil {
		return nil, fmt.Errorf("problem retrieving pod: %w", err)
	}
	return p, nil
}

// retrievePodOrFile is retrievePod with the UUID of --uuid-file, if that is given.
func retrievePodOrFile(ctx context.Context, d *Deps, uuid, file string) (*pod.Pod, error) {
	if file != "" {
		var err error
		if uuid, err = readUUIDFile(file); err != nil {
			return nil, err
		}
	}
	return retrievePod(ctx, d, uuid)
}
