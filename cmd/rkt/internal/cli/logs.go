// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/stage0"
)

type logsOptions struct {
	uuid     string
	uuidFile string
	app      string
	follow   bool
	since    sinceFlag
	lines    linesFlag
	output   string
}

func newLogs(d *Deps) *cobra.Command {
	o := logsOptions{since: sinceFlag{now: d.Now}, lines: entrypoint.AllLines, output: entrypoint.DefaultLogOutput}
	cmd := &cobra.Command{
		Use:   "logs [flags] UUID",
		Short: "Show the output of the apps of a pod",
		Long: "Shows what the apps of a pod, running or not, have written to their standard output and error streams,\n" +
			"as far as these go to the log. Each line is shown as \"TIME APP[PID]: LINE\".\n\n" +
			"--since takes a duration such as 10m, back from now, or a time such as \"2026-01-02 15:04:05\" or 2026-01-02T15:04:05Z.\n" +
			"--output=cat shows the lines alone and byte by byte, --output=json all that is known of them; the other forms\n" +
			"are described in journalctl(1). On a terminal the forms for people leave out control characters.",
		Args: oneUUIDArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.uuid = args[0]
			}
			return runLogs(cmd.Context(), d, o)
		},
	}
	uuidFileFlag(cmd, &o.uuidFile)
	flags := cmd.Flags()
	flags.StringVar(&o.app, "app", "", "show the lines of this app only")
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with new lines until the pod has ended")
	flags.Var(&o.since, "since", "show lines from this time on")
	flags.VarP(&o.lines, "lines", "n", "show the last so many lines at first, or all")
	flags.VarP(&choiceFlag{&o.output, entrypoint.LogOutputs()}, "output", "o", "how lines are shown; allowed values: "+quotedList(entrypoint.LogOutputs()))
	return cmd
}

func runLogs(ctx context.Context, d *Deps, o logsOptions) error {
	p, err := retrievePodOrFile(ctx, d, o.uuid, o.uuidFile)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	if err := d.stopProfile(); err != nil { // exec would lose it
		return err
	}
	return stage0.Logs(ctx, p, stage0.LogsConfig{
		Env: env, App: o.app, Follow: o.follow, Since: o.since.time, Lines: int(o.lines), Output: o.output, Environ: os.Environ(),
	})
}

// sinceFlag is a time, or a duration before now.
type sinceFlag struct {
	now  func() time.Time
	time time.Time // zero: not given
	text string
}

func (f *sinceFlag) Set(s string) error {
	f.text = s
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		f.time = f.now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			f.time = t
			return nil
		}
	}
	return errors.New("must be a duration such as 10m or a time such as 2006-01-02T15:04:05Z")
}

func (f *sinceFlag) String() string { return f.text }
func (f *sinceFlag) Type() string   { return "time" }

// linesFlag is a number of lines, or entrypoint.AllLines.
type linesFlag int

const allLines = "all"

func (f *linesFlag) Set(s string) error {
	if s == allLines {
		*f = entrypoint.AllLines
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return errors.New("must be a number or \"all\"")
	}
	*f = linesFlag(n)
	return nil
}

func (f *linesFlag) String() string {
	if *f < 0 {
		return allLines
	}
	return strconv.Itoa(int(*f))
}

func (f *linesFlag) Type() string { return "lines" }
