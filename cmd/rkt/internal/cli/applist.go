// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
)

type appListOptions struct {
	uuid     string
	noLegend bool
}

func newAppList(d *Deps) *cobra.Command {
	var o appListOptions
	cmd := &cobra.Command{
		Use:         "list UUID",
		Short:       "List applications in a pod",
		Annotations: map[string]string{exitStatuses: appStatuses},
		Args:        cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.uuid = args[0]
			}
			return runAppList(cmd.Context(), d, o)
		},
	}
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	return cmd
}

const appStatuses = "0\tsuccess\n1\tfailure"

func runAppList(ctx context.Context, d *Deps, o appListOptions) error {
	if o.uuid == "" {
		return &statusError{statusLegacy, errNoUUID}
	}
	apps, err := d.podApps(ctx, o.uuid)
	if err != nil {
		return &statusError{statusLegacy, fmt.Errorf("error listing apps: %w", err)}
	}
	var rows [][]string
	if !o.noLegend {
		rows = append(rows, []string{"NAME", "STATE"})
	}
	for _, app := range apps {
		rows = append(rows, []string{app.Name, string(app.State)})
	}
	return d.writeOut(table(rows))
}

// podApps tells about the apps of a pod. What single files of it lack is said,
// and no failure.
func (d *Deps) podApps(ctx context.Context, uuid string) ([]pod.AppInfo, error) {
	p, err := openPod(ctx, d, uuid)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }()
	in := p.Info()
	if in.Err != nil && len(in.Apps) == 0 {
		return nil, in.Err
	}
	if in.Err != nil {
		d.errorf("%s", oneLine(in.Err.Error()))
	}
	return in.Apps, nil
}
