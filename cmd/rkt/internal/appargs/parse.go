// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// App is one image of the command line with what was said about it. Empty
// fields were not given.
type App struct {
	Image             string
	Signature         string
	Name              string
	Exec              string
	Args              []string
	User              string
	Group             string
	SupplementaryGIDs []int
	WorkingDir        string
	ReadOnlyRootFS    *bool
	Environment       appc.Environment
	Mounts            []appc.Mount
	// Isolators are those of flags, at most one of a name but for resource limits.
	Isolators       appc.Isolators
	Annotations     appc.Annotations
	UserAnnotations map[string]string
	UserLabels      map[string]string
	Stdin           string
	Stdout          string
	Stderr          string

	hasArgs, hasExec, hasSignature bool
}

// ErrHelp means that --help was among the arguments.
var ErrHelp = errors.New("help requested")

// FlagError is a flag before the first image that could not be parsed: the
// command line is not understood, so usage is in order.
type FlagError struct{ err error }

func (e *FlagError) Error() string { return e.err.Error() }
func (e *FlagError) Unwrap() error { return e.err }

// Errors of the grammar.
var (
	ErrImageRequired   = errors.New("an image is required before any app arguments")
	ErrArgsTwice       = errors.New("only one set of app arguments allowed per image")
	ErrArgsUnsupported = errors.New("app arguments unsupported")
)

// Parser collects images and their flags. The zero value is ready.
type Parser struct {
	Apps []App
	// Mounts are those given before the first image: they count for all apps.
	Mounts []appc.Mount
	// NoArgs refuses "--".
	NoArgs bool
	// Words is how many words there are before the images, such as the UUID of a
	// pod; Parse puts them into Before.
	Words  int
	Before []string
}

const (
	startArgs = "--"
	endArgs   = "---"
)

// Parse reads args by flags, to which the per-app flags must have been bound.
// The error is a *FlagError up to the first image and another one after it.
func (p *Parser) Parse(flags *pflag.FlagSet, args []string) error {
	for len(args) > 0 {
		word, rest := args[0], args[1:]
		var err error
		switch {
		case word == "" || word == endArgs:
		case word == startArgs:
			rest, err = p.appArgs(rest)
		case isFlag(word):
			rest, err = p.flag(flags, word, rest)
		case len(p.Before) < p.Words:
			p.Before = append(p.Before, word)
		default:
			p.Apps = append(p.Apps, App{Image: word})
		}
		if err != nil {
			return err
		}
		args = rest
	}
	return nil
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// appArgs takes the words up to "---" as arguments of the last image.
func (p *Parser) appArgs(words []string) (rest []string, err error) {
	if p.NoArgs {
		return nil, ErrArgsUnsupported
	}
	app := p.last()
	if app == nil {
		return nil, ErrImageRequired
	}
	if app.hasArgs {
		return nil, ErrArgsTwice
	}
	app.hasArgs = true
	for i, w := range words {
		if w == endArgs {
			return words[i+1:], nil
		}
		app.Args = append(app.Args, w)
	}
	return nil, nil
}

// flag parses one flag with its value, which may be the next word.
func (p *Parser) flag(flags *pflag.FlagSet, word string, rest []string) ([]string, error) {
	tokens := []string{word}
	if len(rest) > 0 && takesNextWord(flags, word) {
		tokens, rest = append(tokens, rest[0]), rest[1:]
	}
	err := flags.Parse(tokens)
	if help, helpErr := flags.GetBool("help"); err == nil && helpErr == nil && help {
		return nil, ErrHelp
	}
	if errors.Is(err, pflag.ErrHelp) {
		return nil, ErrHelp
	}
	if err != nil && len(p.Apps) == 0 {
		return nil, &FlagError{err}
	}
	return rest, err
}

func takesNextWord(flags *pflag.FlagSet, word string) bool {
	name, ok := strings.CutPrefix(word, "--")
	if !ok || strings.Contains(name, "=") {
		return false
	}
	flag := flags.Lookup(name)
	return flag != nil && flag.NoOptDefVal == ""
}

// last is the image that flags belong to now, nil before the first one.
func (p *Parser) last() *App {
	if len(p.Apps) == 0 {
		return nil
	}
	return &p.Apps[len(p.Apps)-1]
}
