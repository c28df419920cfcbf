// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/cmd/acbuild/internal/dockerfile"
)

func newDockerfile() command {
	var o dockerfile.Options
	var engine string
	return command{
		name: "dockerfile", args: "FILE", summary: "Print a script that does what a Dockerfile says", min: 1, max: 1, alone: true,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&o.Name, "name", "", "the `NAME` the script gives the image")
			fs.StringVar(&o.Write, "output", "", "the `FILE` the script writes the image to")
			fs.StringVar(&engine, "engine", "", "what runs the script's commands: `systemd-nspawn|chroot`")
		},
		run: func(_ context.Context, c *call) error { return c.dockerfile(o, engine) },
	}
}

func (c *call) dockerfile(o dockerfile.Options, engine string) error {
	raw, err := readSmall(c, c.args[0])
	if err != nil {
		return err
	}
	o.Dir, o.Entries = filepath.Dir(c.args[0]), directoryEntries
	if engine != "" {
		o.Run = []string{"--engine=" + engine}
	}
	lines, notices, err := dockerfile.Script(string(raw), o)
	if err != nil {
		return fmt.Errorf("%s: %w", c.args[0], err)
	}
	for _, n := range notices {
		c.complain("dockerfile: warning: %s: %s", c.args[0], n)
	}
	return c.printf("%s\n", strings.Join(lines, "\n"))
}

// directoryEntries lists a directory, in order.
func directoryEntries(path string) ([]string, bool) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, false // it is no directory, or the copy says what is wrong
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, true
}
