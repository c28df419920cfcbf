// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
)

func newDigest() command {
	return command{
		name: "digest", args: "FILE", summary: "Print the image ID of an image",
		description: "Validates the image FILE and prints its ID: the SHA-512 of the archive without its\ncompression.",
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runDigest(ctx, d, args); err != nil {
				return fmt.Errorf("digest: %w", err)
			}
			return nil
		},
	}
}

func runDigest(ctx context.Context, d *Deps, args []string) error {
	if len(args) != 1 {
		return errors.New("must provide one file")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", args[0], err)
	}
	defer func() { _ = f.Close() }() // only read
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	defer func() { _ = plain.Close() }() // only read
	h := sha512.New()
	in := io.TeeReader(plain, h)
	_, err = aci.Validate(in)
	var old *aci.OldVersionError
	if err != nil && !errors.As(err, &old) {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	_, err = fmt.Fprintln(d.Stdout, appc.ImageIDFromSum(h.Sum(nil)))
	return err
}
