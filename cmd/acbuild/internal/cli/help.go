// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/rkt/rkt/v2/cmd/internal/argv"
	"github.com/rkt/rkt/v2/pkg/appc"
)

// version of this acbuild; the Makefile sets it with
// -ldflags "-X github.com/rkt/rkt/v2/cmd/acbuild/internal/cli.version=…".
var version = "2.0.0-dev"

func newVersion() command {
	return command{
		name: "version", summary: "Print the version", alone: true,
		run: func(_ context.Context, c *call) error {
			return c.printf("acbuild version %s\nappc version %s\n", version, appc.ACVersion)
		},
	}
}

// printHelp prints the usage of a command to standard output.
func (d *Deps) printHelp(cmd command, words []string) error {
	_, err := d.Stdout.Write(helpText(cmd, words))
	return err
}

func helpText(cmd command, words []string) []byte {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 1, '\t', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	path := strings.Join(append([]string{"acbuild"}, words...), " ")
	line("NAME:\n\t%s - %s\n", path, cmd.summary)
	args := cmd.args
	if cmd.sub != nil {
		args = "COMMAND [ARGS...]"
	}
	line("USAGE:\n\t%s\n", strings.TrimSpace(path+" [options] "+args))
	if len(cmd.aliases) > 0 {
		line("ALIASES:\n\t%s\n", strings.Join(cmd.aliases, ", "))
	}
	if cmd.sub != nil {
		line("COMMANDS:")
		for _, c := range cmd.sub {
			if !c.hidden {
				line("\t%s\t%s", c.name, c.summary)
			}
		}
		line("")
	}
	if own := argv.NewFlagSet(""); cmd.flags != nil {
		cmd.flags(own)
		line("OPTIONS:\n%s", usageOf(own))
	}
	global := argv.NewFlagSet("")
	(&globalFlags{workPath: "."}).bind(global)
	line("GLOBAL OPTIONS:\n%s", strings.TrimSuffix(usageOf(global), "\n"))
	_ = w.Flush() // a bytes.Buffer takes everything
	return b.Bytes()
}

func usageOf(fs *flag.FlagSet) string { return argv.Usage([]*flag.FlagSet{fs}, "modify-appc") }

func newGenManPages() command {
	return command{
		name: "gen-man-pages", summary: "Write manual pages to ./man", hidden: true, alone: true,
		run: func(_ context.Context, c *call) error {
			if err := os.MkdirAll("man", 0o755); err != nil {
				return err
			}
			root := command{name: "acbuild", sub: commands(), summary: "build App Container and OCI images"}
			if err := writeManPages(root, nil); err != nil {
				return err
			}
			c.complain("man pages have been output to ./man/")
			return nil
		},
	}
}

func writeManPages(cmd command, words []string) error {
	page := strings.Join(append([]string{"acbuild"}, words...), "-")
	escape := strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace
	text := fmt.Sprintf(".TH %q 1\n.nf\n%s\n.fi\n", strings.ToUpper(page), escape(string(helpText(cmd, words))))
	if err := os.WriteFile(filepath.Join("man", page+".1"), []byte(text), 0o644); err != nil {
		return err
	}
	for _, c := range cmd.sub {
		if c.hidden {
			continue
		}
		if err := writeManPages(c, append(words[:len(words):len(words)], c.name)); err != nil {
			return err
		}
	}
	return nil
}
