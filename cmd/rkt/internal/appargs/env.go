// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// EnvFlag is --set-env: variables for all apps, each name once.
type EnvFlag struct{ Env appc.Environment }

// Set adds NAME=VALUE.
func (f *EnvFlag) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("must be specified as key=value")
	}
	if !appc.ValidEnvironmentName(name) {
		return fmt.Errorf("%q is not a valid name of an environment variable", name)
	}
	if _, set := f.Env.Get(name); set {
		return fmt.Errorf("key %q already set", name)
	}
	f.Env.Set(name, value)
	return nil
}

func (f *EnvFlag) String() string { return "" }

// Type is what pflag shows as the kind of value.
func (f *EnvFlag) Type() string { return "string" }

// EnvFiles is --set-env-file: variables from files, each name once in all of
// them. Read gets the content of a file.
type EnvFiles struct {
	Env  appc.Environment
	Read func(path string) ([]byte, error)

	files int
}

// Given tells whether there was any file.
func (f *EnvFiles) Given() bool { return f.files > 0 }

// Set reads one file.
func (f *EnvFiles) Set(path string) error {
	data, err := f.Read(path)
	if err != nil {
		return err
	}
	f.files++
	return f.add(path, string(data))
}

// add parses lines of NAME=VALUE. Empty lines and lines that start with # or ;
// do not count; nothing is unquoted or trimmed.
func (f *EnvFiles) add(path, text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !appc.ValidEnvironmentName(name) || strings.Contains(value, "\x00") {
			return fmt.Errorf("environment variable must be specified as name=value (file %q)", path)
		}
		if _, set := f.Env.Get(name); set {
			return fmt.Errorf("environment variable %q already set (file %q)", name, path)
		}
		f.Env.Set(name, value)
	}
	return nil
}

func (f *EnvFiles) String() string { return "" }

// Type is what pflag shows as the kind of value.
func (f *EnvFiles) Type() string { return "string" }
