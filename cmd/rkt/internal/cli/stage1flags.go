// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/pflag"
)

// Ways to choose a stage1 image on the command line, by flag name.
const (
	stage1URL     = "stage1-url"
	stage1Path    = "stage1-path"
	stage1Name    = "stage1-name"
	stage1Hash    = "stage1-hash"
	stage1FromDir = "stage1-from-dir"
)

// stage1Choice is what one of the stage1 flags says; the zero value is no
// flag.
type stage1Choice struct {
	flag  string
	value string
}

func (c *stage1Choice) bind(flags *pflag.FlagSet) {
	for _, f := range []struct{ name, usage string }{
		{stage1URL, "URL to an image to use as stage1"},
		{stage1Path, "absolute or relative path to an image to use as stage1"},
		{stage1Name, "name of an image to use as stage1"},
		{stage1Hash, "hash of an image to use as stage1"},
		{stage1FromDir, "filename of an image in the stage1 images directory to use as stage1"},
	} {
		flags.Var(&stage1Flag{c, f.name}, f.name, f.usage)
	}
}

// stage1Flag is one of the flags, of which one may be given once.
type stage1Flag struct {
	choice *stage1Choice
	name   string
}

func (f *stage1Flag) Set(s string) error {
	switch f.choice.flag {
	case "":
		*f.choice = stage1Choice{f.name, s}
		return nil
	case f.name:
		return fmt.Errorf("--%s already used", f.name)
	}
	return fmt.Errorf("flags --%s and --%s are mutually exclusive", f.name, f.choice.flag)
}

func (f *stage1Flag) String() string { return "" }
func (f *stage1Flag) Type() string   { return "string" }
