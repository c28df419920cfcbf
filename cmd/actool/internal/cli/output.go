// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"flag"
	"path/filepath"
	"strconv"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/compression"
)

// tempPrefix begins the names of what is not complete.
const tempPrefix = ".actool-tmp."

// createOutput starts writing an image.
func createOutput(path string, overwrite bool) (*outfile.File, error) {
	return outfile.Create(path, outfile.Options{Overwrite: overwrite, Prefix: tempPrefix})
}

// bindCompression binds --compression and --no-compression; the last one counts.
func bindCompression(fs *flag.FlagSet, spec *compression.Spec) {
	spec.Type = compression.Gzip
	fs.Var(spec, "compression", compression.Usage)
	fs.BoolFunc("no-compression", "write a plain tar", func(s string) error {
		plain, err := strconv.ParseBool(s)
		switch {
		case err != nil:
			return errors.New("must be true or false")
		case plain:
			*spec = compression.Spec{Type: compression.None}
		}
		return nil
	})
}

// checkExtension refuses outputs that are not called .aci.
func checkExtension(path string) error {
	if ext := filepath.Ext(path); ext != ".aci" {
		return message("Extension must be .aci (given %s)", ext)
	}
	return nil
}
