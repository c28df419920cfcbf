// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
)

type appStatusOptions struct {
	appOptions
	format formatFlag
}

func newAppStatus(d *Deps) *cobra.Command {
	var o appStatusOptions
	cmd := &cobra.Command{
		Use:         "status UUID --app=APPNAME",
		Short:       "Print the status of an app in a pod",
		Annotations: map[string]string{exitStatuses: appStatuses},
	}
	o.bind(cmd, func(ctx context.Context) error { return runAppStatus(ctx, d, o) })
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

func runAppStatus(ctx context.Context, d *Deps, o appStatusOptions) error {
	if err := o.check("must provide the app to show"); err != nil {
		return &statusError{statusLegacy, err}
	}
	app, err := o.find(ctx, d)
	if err != nil {
		return &statusError{statusLegacy, fmt.Errorf("error getting app status: %w", err)}
	}
	if o.format != formatTable {
		return d.printJSON(newAppJSON(*app), o.format == formatJSONPretty)
	}
	return d.writeOut(appStatusText(app))
}

func (o *appStatusOptions) find(ctx context.Context, d *Deps) (*pod.AppInfo, error) {
	apps, err := d.podApps(ctx, o.uuid)
	if err != nil {
		return nil, err
	}
	for i := range apps {
		if apps[i].Name == o.app {
			return &apps[i], nil
		}
	}
	return nil, fmt.Errorf("cannot find app %q in the pod", o.app)
}

// appStatusText is one key=value a line, then lists, each between its key and
// an empty line.
func appStatusText(app *pod.AppInfo) string {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	line("name", app.Name)
	line("state", string(app.State))
	line("image_id", app.ImageID)
	for _, t := range []struct {
		key string
		at  time.Time
	}{{"created_at", app.Created}, {"started_at", app.Started}, {"finished_at", app.Finished}} {
		if !t.at.IsZero() {
			line(t.key, t.at.String())
		}
	}
	if app.ExitCode != nil {
		line("exit_code", strconv.Itoa(*app.ExitCode))
	}
	list := func(key string, values []string) {
		if len(values) > 0 {
			b.WriteString(key + "=\n" + cleanCell(strings.Join(values, ",")) + "\n\n")
		}
	}
	var mounts []string
	for _, m := range app.Mounts {
		mounts = append(mounts, fmt.Sprintf("%s:%s:(read_only:%t)", m.HostPath, m.ContainerPath, m.ReadOnly))
	}
	list("mounts", mounts)
	list("user_annotations", pairs(app.UserAnnotations))
	list("user_labels", pairs(app.UserLabels))
	return b.String()
}

func pairs(m map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, key+":"+m[key])
	}
	return out
}
