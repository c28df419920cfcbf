// SPDX-License-Identifier: Apache-2.0

// Command bench measures rkt against its budgets and its peers on this
// machine and prints a table of ratios. Runs of rkt and of the peer alternate;
// a figure is the median, in some rows with the minimum and the maximum behind
// it. Processor time is that of all processes of a run. It needs root and the
// packages of "make deps-bench".
//
//	bench [-only REGEXP] [-rounds N] [-idle N] [-strict]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == measuredName {
		if err := runMeasured(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one line of the table.
type row struct {
	what    string
	rkt     string
	peer    string
	ratio   string
	budget  string
	met     bool
	comment string
}

// benchmark is one measurement; it may give several rows.
type benchmark struct {
	name string
	run  func(b *bench) []row
}

func benchmarks() []benchmark {
	return []benchmark{
		{"version", version},
		{"sizes", sizes},
		{"fly", runFly},
		{"coreos", runCoreos},
		{"network", runNetwork},
		{"phases", phasesOfRun},
		{"idle", idlePods},
		{"pull", pull},
		{"pods", thousandPods},
		{"images", thousandImages},
	}
}

func run(args []string, out, log io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := fs.String("only", "", "run only benchmarks whose name matches this regular expression")
	rounds := fs.Int("rounds", 31, "rounds of the short measurements; long ones take a tenth, at least 3")
	idle := fs.Int("idle", 20, "number of idle pods")
	strict := fs.Bool("strict", false, "fail if a budget is missed")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("run it as root")
	}
	filter, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var rows []row
	var errs []error
	for _, m := range benchmarks() {
		if !filter.MatchString(m.name) || ctx.Err() != nil {
			continue
		}
		start := time.Now()
		got, err := measure(m, &bench{stop: ctx.Done(), rounds: *rounds, idle: *idle, log: log})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
		_, _ = fmt.Fprintf(log, "bench: %s took %s\n", m.name, time.Since(start).Round(time.Second))
		rows = append(rows, got...)
	}
	missed := table(out, rows)
	if *strict && missed > 0 {
		errs = append(errs, fmt.Errorf("%d budgets missed", missed))
	}
	return errors.Join(errs...)
}

func measure(m benchmark, b *bench) (rows []row, err error) {
	defer func() {
		if stop, ok := recover().(stopped); ok {
			err = stop.err
		}
		b.cleanUp()
	}()
	return m.run(b), nil
}

func table(out io.Writer, rows []row) (missed int) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "WHAT\tRKT\tPEER\tRATIO\tBUDGET\tMET\t")
	for _, r := range rows {
		met := "yes"
		if !r.met {
			met = "NO"
			missed++
		} else if r.budget == "-" {
			met = ""
		}
		_, _ = fmt.Fprintln(w, strings.Join([]string{r.what, r.rkt, r.peer, r.ratio, r.budget, met, r.comment}, "\t"))
	}
	_ = w.Flush()
	return missed
}
