// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/complete"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// completionBudget bounds how long pods and images are read for a suggestion.
const completionBudget = 40 * time.Millisecond

// newComplete are the hidden commands that the scripts of "rkt completion"
// call, by the names that cobra gave them.
func newComplete(d *Deps, name string, help bool) *cobra.Command {
	var words []string
	return &cobra.Command{
		Use:    name,
		Short:  "Answer a shell that completes a command line of rkt",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		// The words are those of another command line.
		PreRunE: func(_ *cobra.Command, args []string) error {
			words = args
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runComplete(cmd.Context(), d, cmd.Root(), words, help)
		},
	}
}

// runComplete completes the last word. Whatever is wrong with the others, it
// says nothing: somebody is typing.
func runComplete(ctx context.Context, d *Deps, root *cobra.Command, words []string, help bool) error {
	partial := ""
	if n := len(words); n > 0 {
		words, partial = words[:n-1], words[n-1]
	}
	ctx, cancel := context.WithTimeout(ctx, completionBudget)
	defer cancel()
	d.takeDirs(words)
	found := resolve(root, words)
	if found.unknown != "" {
		return complete.Result{Directive: cobra.ShellCompDirectiveNoFileComp}.Write(d.Stdout, help)
	}
	return complete.Line(found.cmd, found.args, partial, d.completionSources(ctx)).Write(d.Stdout, help)
}

// takeDirs sets the global flags that say where to look from a line that may
// be unfinished.
func (d *Deps) takeDirs(words []string) {
	dirs := map[string]*string{
		"--dir": &d.Global.Dir, "--system-config": &d.Global.SystemConfig,
		"--local-config": &d.Global.LocalConfig, "--user-config": &d.Global.UserConfig,
	}
	for i, word := range words {
		name, value, ok := strings.Cut(word, "=")
		dir := dirs[name]
		if dir == nil {
			continue
		}
		if !ok && i+1 < len(words) {
			value = words[i+1]
		}
		_ = (&dirFlag{dir: dir}).Set(value) // an empty one changes nothing
	}
}

func (d *Deps) completionSources(ctx context.Context) complete.Live {
	data := d.Global.Dir
	if data == "" {
		data = defaultDataDir
		if c, err := d.loadConfig(config.KindPaths); err == nil && c.Paths.Data != "" {
			data = c.Paths.Data
		}
	}
	live := complete.Live{
		Ctx: ctx, DataDir: data, CAS: filepath.Join(data, poddir.CAS),
		PodDirs: d.podDirs(), Trusted: d.trustedKeys,
	}
	for _, dir := range d.configDirs().Rising() {
		live.NetDirs = append(live.NetDirs, complete.NetDir{Path: filepath.Join(dir, "net.d"), Extensions: []string{".conf", ".conflist", ".json"}})
	}
	live.NetDirs = append(live.NetDirs, complete.NetDir{Path: "/etc/cni/net.d", Extensions: []string{".conf", ".conflist"}})
	return live
}

// trustedKeys are the keys that `rkt trust rm` can take away. Files that cannot
// be used are left out.
func (d *Deps) trustedKeys() []complete.Candidate {
	var list []complete.Candidate
	if infos, err := d.keystore().List(d.Now()); err == nil {
		for _, in := range infos {
			if in.Err == nil && !in.Masked {
				k := keyJSON(in)
				list = append(list, complete.Candidate{Value: k.File, Help: strings.Join(k.Identities, ", ")})
			}
		}
	}
	if infos, err := d.policies().Keys(); err == nil {
		for _, in := range infos {
			if in.Err == nil {
				k := cosignJSON(in)
				list = append(list, complete.Candidate{Value: k.File, Help: strings.Join(k.Identities, ", ")})
			}
		}
	}
	return list
}
