// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	"strings"

	"github.com/rkt/rkt/v2/pkg/unit"
)

// Words of the command line of rkt run.
const (
	startArgs = "--"
	endArgs   = "---"
)

// Stage1 images that have a short name.
const stage1Prefix = "coreos.com/rkt/stage1-"

const stage1Fly = "fly"

// Argument is one flag, one image, or the arguments of one app.
type Argument struct {
	Words []string // with systemd's specifiers
	Pos   unit.Pos
	Key   string // "" for what nobody wrote
	// Global flags belong before the command.
	Global bool
}

// Sample is the argument with something in place of the specifiers, and tells
// whether it had any.
func (a Argument) Sample() (words []string, specifiers bool) {
	for _, w := range a.Words {
		s, had := sample(w)
		words = append(words, s)
		specifiers = specifiers || had
	}
	return words, specifiers
}

// Arguments are those of the pod, in the order of a command line.
func (d *Declaration) Arguments() []Argument {
	var out []Argument
	for _, s := range d.pod {
		out = append(out, s.flags()...)
	}
	if d.pod.get(keyUUIDFile) == nil {
		out = append(out, Argument{Words: []string{"--uuid-file-save=" + d.uuidFile()}, Pos: unit.Pos{File: d.Source.Path}})
	}
	for _, a := range d.apps {
		out = append(out, a.arguments()...)
	}
	return out
}

func (s *setting) flags() (out []Argument) {
	if s.key.Flag == "" {
		return nil
	}
	for _, v := range s.values {
		text := v.text
		if s.key.Name == keyStage1 && s.key.Section == SectionPod {
			text = stage1Name(text)
		}
		out = append(out, Argument{[]string{"--" + s.key.Flag + "=" + text}, v.pos, s.key.Name, s.key.Global})
	}
	return out
}

func stage1Name(s string) string {
	if strings.Contains("|coreos|host|fly|", "|"+s+"|") {
		return stage1Prefix + s
	}
	return s
}

func (a *app) arguments() []Argument {
	var out []Argument
	for _, v := range a.values(keyImage) {
		out = append(out, Argument{[]string{v.text}, v.pos, keyImage, false})
	}
	if a.name != "" {
		out = append(out, Argument{Words: []string{"--name=" + a.name}, Pos: a.pos})
	}
	for _, s := range a.settings {
		out = append(out, s.flags()...)
	}
	if args := a.values(keyArgs); len(args) > 0 {
		words := []string{startArgs}
		for _, v := range args {
			words = append(words, v.text)
		}
		out = append(out, Argument{append(words, endArgs), args[0].pos, keyArgs, false})
	}
	return out
}

// defaultUUIDFile is in the directory of the service below /run, which systemd
// makes and removes.
const (
	runtimeDirectory = "rkt-pod/%N"
	defaultUUIDFile  = "%t/" + runtimeDirectory + "/uuid"
)

func (d *Declaration) uuidFile() string {
	if f := d.pod.text(keyUUIDFile); f != "" {
		return f
	}
	return defaultUUIDFile
}
