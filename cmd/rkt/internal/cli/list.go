// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/pod"
)

type listOptions struct {
	full     bool
	noLegend bool
	format   formatFlag
}

func newList(d *Deps) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List pods",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runList(cmd.Context(), d, o) },
	}
	cmd.Flags().BoolVar(&o.full, "full", false, "use long output format")
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

func runList(ctx context.Context, d *Deps, o listOptions) error {
	dir, err := d.DataDir()
	if err != nil {
		return err
	}
	listing, err := pod.List(ctx, dir, pod.ListedDirs(), o.detail())
	if err != nil {
		return fmt.Errorf("failed to get pod handles: %w", err)
	}
	for _, remark := range listing.Remarks {
		d.errorf("%s", remark)
	}
	var faults []error
	for i := range listing.Pods {
		if in := &listing.Pods[i]; in.Err != nil {
			faults = append(faults, fmt.Errorf("pod %s: %w", in.UUID, in.Err))
		}
	}
	if o.format == formatTable {
		err = d.writeOut(table(podRows(listing.Pods, o, d)))
	} else {
		err = d.printJSON(podsJSON(listing.Pods), o.format == formatJSONPretty)
	}
	if err != nil {
		return err
	}
	d.listFaults("pods", faults)
	return nil
}

// detail is what has to be read of each pod.
func (o *listOptions) detail() pod.Detail {
	if o.format == formatTable {
		return pod.Table
	}
	return pod.Full
}

// podsJSON leaves out pods whose creation time is not known.
func podsJSON(pods []pod.Info) []podJSON {
	out := []podJSON{}
	for i := range pods {
		if !pods[i].Created.IsZero() {
			out = append(out, newPodJSON(&pods[i]))
		}
	}
	return out
}

func podRows(pods []pod.Info, o listOptions, d *Deps) [][]string {
	var rows [][]string
	if !o.noLegend {
		rows = append(rows, podHeader(o.full))
	}
	for i := range pods {
		rows = append(rows, podTableRows(&pods[i], o.full, d)...)
	}
	return rows
}

func podHeader(full bool) []string {
	if full {
		return []string{"UUID", "APP", "IMAGE NAME", "IMAGE ID", "STATE", "CREATED", "STARTED", "NETWORKS"}
	}
	return []string{"UUID", "APP", "IMAGE NAME", "STATE", "CREATED", "STARTED", "NETWORKS"}
}

// podTableRows is one row per app; what belongs to the pod is in the first.
func podTableRows(in *pod.Info, full bool, d *Deps) [][]string {
	pods := podCells(in, full, d)
	apps := [][]string{{"-", "-", "-"}}
	if len(in.Apps) > 0 {
		apps = nil
	}
	for _, app := range in.Apps {
		apps = append(apps, []string{app.Name, imageName(app), appc.ImageID(app.ImageID).Short()})
	}
	var rows [][]string
	for _, app := range apps {
		row := []string{pods[0], app[0], app[1]}
		if full {
			row = append(row, app[2])
		}
		rows = append(rows, append(row, pods[1:]...))
		pods = make([]string, len(pods))
	}
	return rows
}

// podCells are UUID, state, creation and start time, networks.
func podCells(in *pod.Info, full bool, d *Deps) []string {
	uuid, created, started := string(in.UUID), longTime(in.Created), ""
	if !in.Started.IsZero() {
		started = longTime(in.Started)
	}
	if !full {
		uuid = uuid[:8]
		created = relativeTime(in.Created, d.Now())
		if !in.Started.IsZero() {
			started = relativeTime(in.Started, d.Now())
		}
	}
	return []string{uuid, string(in.State), created, started, networkList(in.Networks)}
}

func imageName(app pod.AppInfo) string {
	switch {
	case app.ImageName == "":
		return "--"
	case app.ImageVersion == "":
		return app.ImageName
	}
	return app.ImageName + ":" + app.ImageVersion
}

// listFaults prints the block about single items of a list; they do not
// change the exit status.
func (d *Deps) listFaults(what string, faults []error) {
	if len(faults) == 0 {
		return
	}
	ruler := strings.Repeat("-", 32) + "\n" // callers take 36 dashes for a UUID
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d error(s) encountered when listing %s:\n", d.command, len(faults), what)
	for _, err := range faults {
		b.WriteString(ruler + oneLine(err.Error()) + "\n")
	}
	fmt.Fprintf(&b, "%smisc:\n  rkt's appc version: %s\n\n", ruler, appc.ACVersion)
	d.writeErr(b.String())
}
