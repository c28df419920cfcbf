// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/podunit"
	"github.com/rkt/rkt/v2/pkg/unit"
)

// newUnit is the group of commands on declared pods.
func newUnit(d *Deps) *cobra.Command {
	group := &cobra.Command{
		Use:   "unit",
		Short: "Check and show pods that are declared as services of systemd",
		Long: "This subcommand operates on declarations of pods, files NAME.pod in /etc/rkt/pods.d, /run/rkt/pods.d and /usr/lib/rkt/pods.d, " +
			"which systemd runs as NAME.service.",
	}
	group.AddCommand(newUnitKeys(d), newUnitList(d), newUnitRefuse(d), newUnitShow(d), newUnitVerify(d))
	return group
}

// runConfigDir is where the declarations are that last until the next boot.
const runConfigDir = "/run/rkt"

// podDirs are the directories of declarations, in falling priority.
func (d *Deps) podDirs() (dirs []string) {
	for _, dir := range []string{d.Global.LocalConfig, runConfigDir, d.Global.SystemConfig} {
		dirs = append(dirs, filepath.Join(dir, podunit.Dir))
	}
	return dirs
}

// unitHost is what services are made for: the directories that rkt was told
// about count for them as well.
func (d *Deps) unitHost() (podunit.Host, error) {
	exe, err := d.Executable()
	if err != nil {
		return podunit.Host{}, fmt.Errorf("find the program: %w", err)
	}
	h := podunit.Host{Rkt: exe, DataDir: d.Global.Dir}
	for _, f := range []struct{ name, value, usual string }{
		{"dir", d.Global.Dir, ""},
		{"system-config", d.Global.SystemConfig, defaultSystemConfig},
		{"local-config", d.Global.LocalConfig, defaultLocalConfig},
		{"user-config", d.Global.UserConfig, ""},
	} {
		if f.value != f.usual {
			h.Flags = append(h.Flags, "--"+f.name+"="+f.value)
		}
	}
	return h, nil
}

// readDeclaration reads a source and has its arguments checked by those who
// will take them.
func readDeclaration(s *podunit.Source) *podunit.Declaration {
	decl := s.Read()
	if !s.Masked {
		checkArguments(decl)
	}
	decl.Sort()
	return decl
}

// checkArguments adds what `rkt run` would say of the arguments. It opens no
// file: at the time of the generator few file systems are there.
func checkArguments(decl *podunit.Declaration) {
	scratch := &Deps{}
	cmd := &cobra.Command{Use: "run"}
	var o runOptions
	o.pod.bind(cmd)
	o.runtime.bind(cmd.Flags())
	cmd.Flags().StringVar(&o.pod.uuidFileSave, "uuid-file-save", "", "")
	o.pod.setEnvFile.Read = func(string) ([]byte, error) { return nil, nil }
	scratch.Global.bind(cmd.Flags())
	unsure := false
	for _, a := range decl.Arguments() {
		words, specifiers := a.Sample()
		err := o.pod.images.Parse(cmd.Flags(), words)
		switch {
		case err != nil && specifiers:
			unsure = true // what they stand for may be right
		case err != nil:
			addProblem(decl, a.Pos, a.Key, err)
		}
	}
	if unsure || len(decl.Problems) > 0 {
		return
	}
	if err := firstError(o.pod.checkArgs, o.check); err != nil {
		addProblem(decl, unit.Pos{File: decl.Source.Path}, "", err)
	}
}

func addProblem(decl *podunit.Declaration, pos unit.Pos, key string, err error) {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) && value.Unwrap() != nil {
		err = value.Unwrap() // nobody wrote a flag
	}
	text := oneLine(err.Error())
	if key != "" {
		text = key + "=: " + text
	}
	decl.Problems = append(decl.Problems, unit.Problem{Pos: pos, Text: text})
}

// findUnit finds a declaration by the name of its file or of its service.
func (d *Deps) findUnit(name string) (*podunit.Source, error) {
	base := strings.TrimSuffix(strings.TrimSuffix(name, podunit.Suffix), ".service")
	sources, _ := podunit.Find(d.podDirs())
	var names []string
	for _, s := range sources {
		if s.Name == base {
			return s, nil
		}
		names = append(names, s.Name)
	}
	err := fmt.Errorf("there is no %s%s in %s", base, podunit.Suffix, strings.Join(d.podDirs(), ", "))
	if near := unit.Nearest(base, names); near != "" {
		err = fmt.Errorf("%w; did you mean %s?", err, near)
	}
	return nil, err
}

// newUnitRefuse is what the service of a wrong declaration runs.
func newUnitRefuse(d *Deps) *cobra.Command {
	return &cobra.Command{
		Use:    "refuse MESSAGE...",
		Short:  "Fail with messages",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, text := range args {
				d.writeErr(oneLine(text) + "\n")
			}
			d.writeErr("hint: correct the file, check it with \"rkt unit verify\", and run \"systemctl daemon-reload\"\n")
			return errReported
		},
	}
}
