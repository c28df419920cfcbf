// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/podunit"
	"github.com/rkt/rkt/v2/pkg/unit"
)

type unitVerifyOptions struct {
	files  []string
	format formatFlag
}

const unitVerifyStatuses = "0\teverything is right, but for warnings\n254\tsomething is wrong"

func newUnitVerify(d *Deps) *cobra.Command {
	var o unitVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify [FILE...]",
		Short: "Check declarations of pods",
		Long: "Checks all declarations, or the files or names given, and prints what is wrong with file, line and column. " +
			"A file that is not in one of the directories is checked by itself, without drop-ins.",
		Annotations: map[string]string{exitStatuses: unitVerifyStatuses},
		RunE: func(_ *cobra.Command, args []string) error {
			o.files = args
			return runUnitVerify(d, o)
		},
	}
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// unitFinding is a problem in the JSON form.
type unitFinding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Verdict string `json:"verdict"` // fail or warn
	Text    string `json:"text"`
}

const (
	findingFail = "fail"
	findingWarn = "warn"
)

func runUnitVerify(d *Deps, o unitVerifyOptions) error {
	findings, n, err := d.verifyUnits(o.files)
	if err != nil {
		return err
	}
	wrong := 0
	for _, f := range findings {
		if f.Verdict == findingFail {
			wrong++
		}
	}
	if o.format != formatTable {
		err = d.printJSON(findings, o.format == formatJSONPretty)
	} else {
		err = d.printFindings(findings, n, wrong)
	}
	if err == nil && wrong > 0 {
		err = errReported
	}
	return err
}

func (d *Deps) printFindings(findings []unitFinding, n, wrong int) error {
	for _, f := range findings {
		text := f.Text
		if f.Verdict == findingWarn {
			text = "warning: " + text
		}
		d.writeErr(oneLine(unit.Problem{Pos: unit.Pos{File: f.File, Line: f.Line, Column: f.Column}, Text: text}.String()) + "\n")
	}
	return d.printf("%d declaration(s) checked, %d problem(s)", n, wrong)
}

// verifyUnits checks files, or everything when there are none.
func (d *Deps) verifyUnits(files []string) (findings []unitFinding, n int, err error) {
	findings = []unitFinding{}
	add := func(verdict string, problems []unit.Problem) {
		for _, p := range problems {
			findings = append(findings, unitFinding{p.Pos.File, p.Pos.Line, p.Pos.Column, verdict, p.Text})
		}
	}
	sources, stray := podunit.Find(d.podDirs())
	if len(files) > 0 {
		if sources, err = d.pickUnits(sources, files); err != nil {
			return nil, 0, err
		}
	} else {
		add(findingFail, stray)
	}
	for _, s := range sources {
		decl := readDeclaration(s)
		add(findingFail, decl.Problems)
		add(findingWarn, decl.Warnings)
		add(findingWarn, overridden(s))
	}
	return findings, len(sources), nil
}

// pickUnits finds what the words of the command line name.
func (d *Deps) pickUnits(all []*podunit.Source, words []string) (out []*podunit.Source, err error) {
	for _, w := range words {
		var found *podunit.Source
		for _, s := range all {
			if s.Path == w {
				found = s
			}
		}
		if _, statErr := os.Stat(w); found == nil && statErr == nil {
			found = podunit.File(w)
		}
		if found == nil {
			if strings.ContainsRune(w, '/') {
				return nil, fmt.Errorf("there is no file %s", w)
			}
			if found, err = d.findUnit(w); err != nil {
				return nil, err
			}
		}
		out = append(out, found)
	}
	return out, nil
}

// overridden warns of units that systemd prefers to the generated one.
func overridden(s *podunit.Source) (out []unit.Problem) {
	for _, dir := range []string{"/etc/systemd/system/", "/run/systemd/system/"} {
		if _, err := os.Lstat(dir + s.Service()); err == nil && !s.Masked {
			out = append(out, unit.Problem{Pos: unit.Pos{File: s.Path}, Text: "has no effect: systemd takes " + dir + s.Service()})
		}
	}
	return out
}
