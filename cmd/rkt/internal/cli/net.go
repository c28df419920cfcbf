// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0"
)

// newNet is the group of commands on the networks of pods.
func newNet(d *Deps) *cobra.Command {
	group := &cobra.Command{
		Use:   "net",
		Short: "Show, check and repair the networks of pods",
		Long:  "This subcommand operates on the networks of pods.",
	}
	group.AddCommand(newNetList(d), newNetCheck(d), newNetRepair(d))
	return group
}

type netListOptions struct {
	full, noLegend bool
	format         formatFlag
}

func newNetList(d *Deps) *cobra.Command {
	var o netListOptions
	cmd := &cobra.Command{
		Use:         "list",
		Short:       "List the networks of pods with their addresses",
		Long:        "Lists each network of each pod: interface, addresses, gateway and hardware address inside the pod.",
		Annotations: rootOnly(),
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return runNetList(cmd.Context(), d, o) },
	}
	cmd.Flags().BoolVar(&o.full, "full", false, "use long output format")
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// podNetworks are the networks of a pod in the JSON form.
type podNetworks struct {
	UUID     poddir.UUID   `json:"uuid"`
	State    string        `json:"state"`
	Networks []pod.Network `json:"networks"`
}

func runNetList(ctx context.Context, d *Deps, o netListOptions) error {
	dir, err := d.DataDir()
	if err != nil {
		return err
	}
	listing, err := pod.List(ctx, dir, pod.ListedDirs(), pod.Table)
	if err != nil {
		return fmt.Errorf("failed to get pod handles: %w", err)
	}
	out := []podNetworks{}
	for i := range listing.Pods {
		if in := &listing.Pods[i]; len(in.Networks) > 0 {
			out = append(out, podNetworks{in.UUID, string(in.State), in.Networks})
		}
	}
	if o.format != formatTable {
		return d.printJSON(out, o.format == formatJSONPretty)
	}
	var rows [][]string
	if !o.noLegend {
		rows = append(rows, []string{"UUID", "STATE", "NETWORK", "INTERFACE", "ADDRESSES", "GATEWAY", "MAC"})
	}
	for _, p := range out {
		rows = append(rows, p.rows(o.full)...)
	}
	return d.writeOut(table(rows))
}

func (p *podNetworks) rows(full bool) (rows [][]string) {
	uuid := string(p.UUID)
	if !full {
		uuid = uuid[:8]
	}
	for _, n := range p.Networks {
		addresses := strings.Join(n.IPs, ", ")
		if addresses == "" {
			addresses = n.IP // recorded by rkt 1.30
		}
		rows = append(rows, []string{uuid, p.State, n.Name, n.IfName, dash(addresses), dash(n.Gateway), dash(n.MAC)})
	}
	return rows
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

type netCheckOptions struct {
	uuids    []string
	repair   bool
	noLegend bool
	format   formatFlag
}

func newNetCheck(d *Deps) *cobra.Command {
	return newNetVerb(d, netCheckOptions{}, &cobra.Command{
		Use:   "check [UUID...]",
		Short: "Tell what is missing of the networks of running pods",
		Long: "Compares what was set up for running pods, all or those given, with what is there: interfaces, addresses, " +
			"masquerading, forwarded ports, and what plugins find themselves. Exits with 1 if something is missing.",
	})
}

func newNetRepair(d *Deps) *cobra.Command {
	return newNetVerb(d, netCheckOptions{repair: true}, &cobra.Command{
		Use:   "repair [UUID...]",
		Short: "Put back what is missing of the networks of running pods",
		Long: "Puts back the rules of the firewall that running pods, all or those given, need and that are gone, for example " +
			"after the firewall of the host was reloaded. Exits with 1 if something stays missing: an interface that is gone needs a new pod.",
	})
}

func newNetVerb(d *Deps, o netCheckOptions, cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = rootOnly()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.uuids = args
		return runNetCheck(cmd.Context(), d, o)
	}
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// netReport is the state of a pod's networks in the JSON form.
type netReport struct {
	UUID poddir.UUID `json:"uuid"`
	entrypoint.NetReport
}

func runNetCheck(ctx context.Context, d *Deps, o netCheckOptions) error {
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	uuids, all := o.uuids, len(o.uuids) == 0
	if all {
		if uuids, err = d.runningPods(ctx); err != nil {
			return err
		}
	}
	reports := []netReport{}
	failed := false
	for _, uuid := range uuids {
		r, err := checkPod(ctx, d, env, uuid, o.repair, all)
		switch {
		case errors.Is(err, errSkipped):
			continue
		case err != nil:
			d.errorf("%v", err)
			failed = true
			continue
		}
		reports = append(reports, r)
	}
	if o.format == formatTable {
		err = d.writeOut(table(checkRows(reports, o.noLegend)))
	} else {
		err = d.printJSON(reports, o.format == formatJSONPretty)
	}
	if err != nil {
		return err
	}
	if failed || somethingMissing(reports) {
		return &statusError{statusLegacy, errReported}
	}
	return nil
}

// errSkipped says that a pod has nothing to check.
var errSkipped = errors.New("skipped")

// checkPod checks one pod. One that has ended meanwhile, or has no networks,
// counts only if it was asked for.
func checkPod(ctx context.Context, d *Deps, env stage0.Env, uuid string, repair, all bool) (netReport, error) {
	p, err := retrievePod(ctx, d, uuid)
	if all && errors.Is(err, pod.ErrNotPresent) {
		return netReport{}, errSkipped
	}
	if err != nil {
		return netReport{}, err
	}
	defer func() { _ = p.Close() }()
	if p.State() != pod.Running {
		if all {
			return netReport{}, errSkipped
		}
		return netReport{}, fmt.Errorf("pod %q is not running", p.UUID())
	}
	r, err := stage0.CheckNetworks(ctx, p, env, repair)
	if errors.Is(err, stage0.ErrNoNetworks) && all {
		return netReport{}, errSkipped
	}
	if err != nil {
		return netReport{}, fmt.Errorf("pod %q: %w", p.UUID(), err)
	}
	return netReport{p.UUID(), r}, nil
}

func (d *Deps) runningPods(ctx context.Context) (uuids []string, err error) {
	dir, err := d.DataDir()
	if err != nil {
		return nil, err
	}
	err = pod.Walk(ctx, dir, []string{poddir.Run}, func(string) {}, func(p *pod.Pod) error {
		if p.State() == pod.Running {
			uuids = append(uuids, string(p.UUID()))
		}
		return nil
	})
	return uuids, err
}

func checkRows(reports []netReport, noLegend bool) (rows [][]string) {
	if !noLegend {
		rows = append(rows, []string{"UUID", "NETWORK", "INTERFACE", "STATE"})
	}
	for _, r := range reports {
		for _, n := range r.Networks {
			name := n.Name
			if name == "" {
				name = "(ports)"
			}
			states := []string{}
			for _, m := range n.Missing {
				states = append(states, "missing: "+m)
			}
			for _, m := range n.Repaired {
				states = append(states, "put back: "+m)
			}
			if len(states) == 0 {
				states = []string{"ok"}
			}
			for _, s := range states {
				rows = append(rows, []string{string(r.UUID)[:8], name, dash(n.IfName), s})
			}
		}
	}
	return rows
}

func somethingMissing(reports []netReport) bool {
	for _, r := range reports {
		for _, n := range r.Networks {
			if len(n.Missing) > 0 {
				return true
			}
		}
	}
	return false
}
