// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

var errNoProgram = errors.New("argument list without program name")

// newFlags makes a flag set that reports errors to the caller only. It takes
// --flag=value, "--flag value", and the bare form for booleans.
func newFlags(argv []string) (*flag.FlagSet, error) {
	if len(argv) == 0 {
		return nil, errNoProgram
	}
	fs := flag.NewFlagSet(path.Base(argv[0]), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs, nil
}

// parseUUID parses the flags and the pod UUID that ends the arguments.
func parseUUID(fs *flag.FlagSet, argv []string) (poddir.UUID, error) {
	if err := fs.Parse(argv[1:]); err != nil {
		return "", err
	}
	if fs.NArg() != 1 {
		return "", fmt.Errorf("want one pod UUID, got %q", fs.Args())
	}
	return poddir.ParseUUID(fs.Arg(0))
}

// noArgs parses flags that nothing may follow.
func noArgs(fs *flag.FlagSet, argv []string) error {
	if err := fs.Parse(argv[1:]); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return fmt.Errorf("unexpected arguments %q", fs.Args())
	}
	return nil
}
