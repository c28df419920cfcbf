// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/rkt/rkt/v2/pkg/aci"
)

const signatureSuffix = ".asc"

func newSign() command {
	return command{
		name: "sign", args: "FILE.aci [-- GPG-FLAGS...]", summary: "Sign an image with gpg",
		description: "Validates FILE.aci and has gpg write the signature FILE.aci.asc, replacing one that is\n" +
			"there. GPG-FLAGS, --armor --yes --digest-algo=SHA512 if there are none, come first.",
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runSign(ctx, d, args); err != nil {
				return fmt.Errorf("sign: %w", err)
			}
			return nil
		},
	}
}

func runSign(ctx context.Context, d *Deps, args []string) error {
	if len(args) == 0 {
		return errors.New("must provide one file")
	}
	file, flags := args[0], args[1:]
	if len(flags) == 0 {
		flags = []string{"--armor", "--yes", "--digest-algo=SHA512"}
	}
	if err := checkImage(ctx, file); err != nil {
		return fmt.Errorf("cannot read %s: %w", file, err)
	}
	// gpg takes a name that begins with a dash for a flag, also behind --output.
	argv := slices.Concat(flags, []string{"--output", atPath(file) + signatureSuffix, "--detach-sig", atPath(file)})
	cmd := exec.CommandContext(ctx, "gpg", argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, d.Stdout, d.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gpg: %w", err)
	}
	return nil
}

// atPath is a relative path that begins with "./" or a directory.
func atPath(path string) string {
	if path != "" && path[0] == '-' {
		return "./" + path
	}
	return path
}

func checkImage(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	_, err = aci.Validate(ctxReader{ctx, f})
	var old *aci.OldVersionError
	if errors.As(err, &old) {
		return nil
	}
	return err
}
