// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func newCatManifest() command {
	var pretty bool
	var file string
	return command{
		name: "cat-manifest", summary: "Print the manifest of the image",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&pretty, "pretty-print", false, "print it indented")
			fs.StringVar(&file, "file", "", "of an OCI build, print what write would write: `manifest|config`")
		},
		run: func(ctx context.Context, c *call) error {
			return c.withBuild(func(b *build) error {
				if file != "" {
					return c.catOCI(ctx, b, file, pretty)
				}
				m, err := b.manifest()
				if err != nil {
					return err
				}
				return c.printManifest(m, pretty)
			})
		},
		edit: func(c *call, m *manifest) error { // of --modify
			if file != "" {
				return errNotOCIBuild
			}
			return c.printManifest(m, pretty)
		},
	}
}

func (c *call) printManifest(m *manifest, pretty bool) error {
	text, err := m.Marshal()
	if err != nil {
		return err
	}
	return c.printJSON(text, pretty)
}

func (c *call) printJSON(text []byte, pretty bool) (err error) {
	if pretty {
		if text, err = appc.Indent(text, "", "    "); err != nil {
			return err
		}
	}
	return c.printf("%s\n", text)
}

func newReplaceManifest() command {
	return set("replace-manifest", "FILE", "Replace the manifest by a file", func(c *call, m *manifest) error {
		info, err := os.Stat(c.args[0])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("no such file or directory: %s", c.args[0])
		case err != nil:
			return err
		case info.IsDir():
			return fmt.Errorf("%s is a directory", c.args[0])
		}
		raw, err := readSmall(c, c.args[0])
		if err != nil {
			return err
		}
		replacement, err := appc.ParseImageManifest(raw)
		if err != nil {
			return err
		}
		*m = *replacement
		return nil
	})
}
