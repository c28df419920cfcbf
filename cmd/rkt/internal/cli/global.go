// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Built-in directories.
const (
	defaultDataDir      = "/var/lib/rkt"
	defaultSystemConfig = "/usr/lib/rkt"
	defaultLocalConfig  = "/etc/rkt"
	// defaultStage1Images is where packages put stage1 images.
	defaultStage1Images = "/usr/lib/rkt/stage1-images"
)

// Global holds the flags every command accepts.
type Global struct {
	Debug              bool
	Dir                string // "" unless given
	SystemConfig       string
	LocalConfig        string
	UserConfig         string
	Insecure           Insecure
	TrustKeysFromHTTPS bool
	Progress           string
	cpuProfile         string
	memProfile         string
	help               bool
}

func (g *Global) bind(flags *pflag.FlagSet) {
	g.SystemConfig, g.LocalConfig = defaultSystemConfig, defaultLocalConfig
	flags.BoolVar(&g.Debug, "debug", false, "print out more debug information to stderr")
	flags.Var(&dirFlag{&g.Dir, defaultDataDir}, "dir", "rkt data directory")
	flags.Var(&dirFlag{dir: &g.SystemConfig}, "system-config", "system configuration directory")
	flags.Var(&dirFlag{dir: &g.LocalConfig}, "local-config", "local configuration directory")
	flags.Var(&dirFlag{dir: &g.UserConfig}, "user-config", "user configuration directory")
	flags.Var(&g.Insecure, "insecure-options", "comma-separated list of security features to disable; allowed values: "+quotedList(insecureNames()))
	flags.BoolVar(&g.TrustKeysFromHTTPS, "trust-keys-from-https", false, "automatically trust gpg keys fetched from https")
	g.Progress = progressAuto
	flags.Var(&choiceFlag{&g.Progress, []string{progressAuto, progressPlain, progressJSON, progressNone}},
		"progress", "how downloads show their progress on stderr: auto, plain, json or none")
	flags.StringVar(&g.cpuProfile, "cpuprofile", "", "write a CPU profile to the file")
	flags.StringVar(&g.memProfile, "memprofile", "", "write a memory profile to the file")
	flags.BoolVarP(&g.help, "help", "h", false, "print usage information and exit")
	for _, name := range []string{"cpuprofile", "memprofile"} {
		flags.Lookup(name).Hidden = true
	}
}

// Values of --progress.
const (
	progressAuto  = "auto"
	progressPlain = "plain"
	progressJSON  = "json"
	progressNone  = "none"
)

func quotedList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(quoted, ", ")
}

// dirFlag is a directory, made absolute.
type dirFlag struct {
	dir   *string
	shown string // default in help texts
}

func (f *dirFlag) Set(s string) error {
	if s == "" {
		return fmt.Errorf("%q is not a valid directory", s)
	}
	abs, err := filepath.Abs(s)
	if err != nil {
		return err
	}
	*f.dir = abs
	return nil
}

func (f *dirFlag) String() string {
	if *f.dir == "" {
		return f.shown
	}
	return *f.dir
}

func (f *dirFlag) Type() string { return "directory" }

// choiceFlag is one word of a list.
type choiceFlag struct {
	value   *string
	allowed []string
}

func (f *choiceFlag) Set(s string) error {
	if !slices.Contains(f.allowed, s) {
		return fmt.Errorf("must be one of %s", quotedList(f.allowed))
	}
	*f.value = s
	return nil
}

func (f *choiceFlag) String() string { return *f.value }
func (f *choiceFlag) Type() string   { return "choice" }
