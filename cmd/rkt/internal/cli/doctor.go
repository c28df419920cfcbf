// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/doctor"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

type doctorOptions struct {
	noLegend bool
	format   formatFlag
}

const doctorStatuses = "0\tpods can run; there may be warnings\n254\tsomething keeps pods from running, or from running safely"

// doctorTime is how long all questions together may take.
const doctorTime = 30 * time.Second

func newDoctor(d *Deps) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether the host has what rkt needs",
		Long: "Looks at the kernel, cgroups, systemd, groups, directories, the store, networks, the firewall, keys and leftovers, " +
			"and says what to do about what is not as it should be. It changes nothing. Others than root do not see everything; what was not seen is a warning.",
		Annotations: map[string]string{exitStatuses: doctorStatuses},
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), d, o) },
	}
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// doctorReport is the JSON form.
type doctorReport struct {
	Verdict doctor.Verdict  `json:"verdict"` // the worst of all
	Checks  []doctor.Result `json:"checks"`
}

func runDoctor(ctx context.Context, d *Deps, o doctorOptions) error {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	dir, err := d.DataDir()
	if err != nil { // the configuration is broken, which is an answer, too
		dir = defaultDataDir
	}
	h := doctor.Real(dir, d.Global.LocalConfig)
	h.Running = func(uuid string) bool { return podRuns(ctx, dir, uuid) }
	r := doctorReport{Checks: doctor.Examine(ctx, h, append(doctor.Probes(), d.probes()...))}
	r.Verdict = doctor.Worst(r.Checks)
	if o.format != formatTable {
		err = d.printJSON(r, o.format == formatJSONPretty)
	} else {
		err = d.printDoctor(r, o.noLegend)
	}
	if err == nil && r.Verdict == doctor.Fail {
		err = errReported
	}
	return err
}

func (d *Deps) printDoctor(r doctorReport, noLegend bool) error {
	var rows [][]string
	if !noLegend {
		rows = append(rows, []string{"CHECK", "VERDICT", "FOUND"})
	}
	for _, c := range r.Checks {
		rows = append(rows, []string{c.Name, string(c.Verdict), oneLine(c.Found)})
		if c.Todo != "" {
			rows = append(rows, []string{"", "", "to do: " + oneLine(c.Todo)})
		}
	}
	return d.writeOut(table(rows))
}

// podRuns looks at the lock of a pod, without holding it.
func podRuns(ctx context.Context, dir, uuid string) bool {
	id, err := poddir.ParseUUID(uuid)
	if err != nil {
		return false
	}
	p, err := pod.Open(ctx, dir, id)
	if err != nil {
		return false
	}
	defer func() { _ = p.Close() }()
	return p.State() == pod.Running
}

// problems is a result for a list of things that are wrong.
func problems(verdict doctor.Verdict, list []string, todo string) doctor.Result {
	const most = 5
	found := ""
	for i, text := range list {
		if i == most {
			found += fmt.Sprintf("; and %d more", len(list)-most)
			break
		}
		if i > 0 {
			found += "; "
		}
		found += oneLine(text)
	}
	return doctor.Result{Verdict: verdict, Found: found, Todo: todo}
}
