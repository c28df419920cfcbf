// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/pod"
)

type statusOptions struct {
	uuid      string
	uuidFile  string
	wait      waitFlag
	waitReady waitFlag
	format    formatFlag
}

func newStatus(d *Deps) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [--wait=bool|duration] [--wait-ready=bool|duration] UUID",
		Short: "Check the status of a rkt pod",
		Long: "Prints assorted information about the pod such as its state, pid and exit status.\n\n" +
			"--wait waits for the pod to finish, --wait-ready for its supervisor to become ready; " +
			"true (or just the flag, or 1) waits forever, a duration such as 10s at most so long.",
		Annotations: map[string]string{exitStatuses: "0\tsuccess\n1\tthe file of --uuid-file cannot be read\n254\tfailure"},
		Args:        oneUUIDArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.uuid = args[0]
			}
			return runStatus(cmd.Context(), d, o)
		},
	}
	uuidFileFlag(cmd, &o.uuidFile)
	o.wait.bind(cmd.Flags(), "wait", "toggle waiting for the pod to finish; a duration limits the wait")
	o.waitReady.bind(cmd.Flags(), "wait-ready", "toggle waiting for the pod to be ready; a duration limits the wait")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

func runStatus(ctx context.Context, d *Deps, o statusOptions) error {
	if o.uuidFile != "" {
		uuid, err := readUUIDFile(o.uuidFile)
		if err != nil {
			return &statusError{statusLegacy, err}
		}
		o.uuid = uuid
	}
	p, err := retrievePod(ctx, d, o.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if err := waitFor(ctx, o.waitReady, p.WaitReady); err != nil {
		return fmt.Errorf("error waiting for pod readiness: %w", err)
	}
	if err := waitFor(ctx, o.wait, p.WaitFinished); err != nil {
		return fmt.Errorf("error waiting for pod to finish: %w", err)
	}
	in := p.Info()
	return printStatus(d, in, d.verifications(ctx, &in), o.format)
}

func waitFor(ctx context.Context, f waitFlag, wait func(context.Context) error) error {
	if !f.on {
		return nil
	}
	if f.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.limit)
		defer cancel()
	}
	err := wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// printStatus prints a pod. verified is of its apps, in their order, or nil.
func printStatus(d *Deps, in pod.Info, verified []explain.Verification, format formatFlag) error {
	if format != formatTable {
		out := newPodJSON(&in)
		for i := range verified {
			out.Apps[i].Verification = &verified[i]
		}
		return d.printJSON(out, format == formatJSONPretty)
	}
	if in.Err != nil {
		d.errorf("%s", oneLine(in.Err.Error()))
	}
	return d.writeOut(statusText(&in) + verifiedText(&in, verified))
}

// verifiedText is one line for each app, after all that rkt 1.30 prints. Keys
// that begin with app- are exit codes.
func verifiedText(in *pod.Info, verified []explain.Verification) string {
	var b strings.Builder
	for i, v := range verified {
		b.WriteString("verified-" + in.Apps[i].Name + "=" + v.Status + "\n")
	}
	return b.String()
}

// statusText is one key=value a line.
func statusText(in *pod.Info) string {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	line("state", string(in.State))
	line("created", longTime(in.Created))
	if !in.Started.IsZero() {
		line("started", longTime(in.Started))
	}
	if in.State == pod.Running || in.State == pod.Exited {
		line("networks", networkList(in.Networks))
	}
	if !runningOrLater(in.State) {
		return b.String()
	}
	if in.PID != 0 {
		line("pid", strconv.Itoa(in.PID))
	}
	line("exited", strconv.FormatBool(in.State == pod.Exited || in.State == pod.ExitedGarbage))
	for _, app := range in.Apps {
		if in.State.IsAfterRun() && app.ExitCode != nil {
			line("app-"+app.Name, strconv.Itoa(*app.ExitCode))
		}
	}
	return b.String()
}

func runningOrLater(s pod.State) bool {
	switch s {
	case pod.Running, pod.Exited, pod.ExitedGarbage, pod.Deleting, pod.ExitedDeleting:
		return true
	}
	return false
}

// waitFlag is a boolean or a duration: how long to wait.
type waitFlag struct {
	on    bool
	limit time.Duration // 0: forever
}

func (f *waitFlag) Set(s string) error {
	if on, err := strconv.ParseBool(s); err == nil {
		*f = waitFlag{on: on}
		return nil
	}
	limit, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("must be a boolean or a duration")
	}
	*f = waitFlag{on: limit != 0, limit: max(0, limit)} // negative: forever
	return nil
}

func (f *waitFlag) String() string {
	if f.limit > 0 {
		return f.limit.String()
	}
	return strconv.FormatBool(f.on)
}

func (f *waitFlag) Type() string { return "wait" }

func (f *waitFlag) bind(flags *pflag.FlagSet, name, usage string) {
	flags.Var(f, name, usage)
	flags.Lookup(name).NoOptDefVal = "true"
}
