// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/stage0"
)

// newApp is the group of commands on the apps of mutable pods.
func newApp(d *Deps) *cobra.Command {
	group := &cobra.Command{
		Use:   "app",
		Short: "Operate on apps in a running pod",
		Long: "These commands add apps to a pod that \"rkt app sandbox\" has started, start, stop and remove them, one by one.\n" +
			"\"list\", \"status\" and \"exec\" take any pod.",
	}
	group.AddCommand(
		newAppAdd(d),
		newAppExec(d),
		newAppList(d),
		newAppRm(d),
		newAppSandbox(d),
		newAppStart(d),
		newAppStatus(d),
		newAppStop(d),
	)
	return group
}

// newAppExec is enter under another name.
func newAppExec(d *Deps) *cobra.Command {
	cmd := newEnter(d)
	cmd.Use = "exec [--app=APPNAME] UUID [CMD [ARGS ...]]"
	cmd.Short = "Execute commands in the given app's namespace"
	return cmd
}

var errNoUUID = errors.New("must provide the pod UUID")

// appOptions name one app of a pod.
type appOptions struct {
	uuid string
	app  string
}

// bind takes the UUID from the arguments and the app from --app.
func (o *appOptions) bind(cmd *cobra.Command, run func(context.Context) error) {
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Flags().StringVar(&o.app, "app", "", "name of the app")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			o.uuid = args[0]
		}
		return run(cmd.Context())
	}
}

// check fails with missing if there is no app.
func (o *appOptions) check(missing string) error {
	switch {
	case o.uuid == "":
		return errNoUUID
	case o.app == "":
		return errors.New(missing)
	}
	return nil
}

// appVerb does an operation of stage0 on one app.
func (o *appOptions) appVerb(ctx context.Context, d *Deps, verb func(context.Context, *pod.Pod, stage0.AppConfig) error) error {
	p, err := retrievePod(ctx, d, o.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	env, err := d.stage0Env(ctx)
	if err != nil {
		return err
	}
	return verb(ctx, p, stage0.AppConfig{Env: env, App: o.app})
}

func newAppStart(d *Deps) *cobra.Command {
	var o appOptions
	cmd := &cobra.Command{
		Use:   "start UUID --app=APPNAME",
		Short: "Start an app in a pod",
		Long:  "Starts an app that was added with \"rkt app add\", or starts it again after it ended.",
	}
	o.bind(cmd, func(ctx context.Context) error { return runAppStart(ctx, d, o) })
	return cmd
}

func runAppStart(ctx context.Context, d *Deps, o appOptions) error {
	if err := o.check("must provide the app to start"); err != nil {
		return err
	}
	return o.appVerb(ctx, d, stage0.StartApp)
}

func newAppStop(d *Deps) *cobra.Command {
	var o appOptions
	cmd := &cobra.Command{
		Use:   "stop UUID --app=APPNAME",
		Short: "Stop an app in a pod",
		Long:  "Returns when the app has ended. It can be started again.",
	}
	o.bind(cmd, func(ctx context.Context) error { return runAppStop(ctx, d, o) })
	return cmd
}

func runAppStop(ctx context.Context, d *Deps, o appOptions) error {
	if err := o.check("must provide the app to stop"); err != nil {
		return err
	}
	err := o.appVerb(ctx, d, stage0.StopApp)
	if errors.Is(err, stage0.ErrAlreadyStopped) {
		return d.printf("%s", err)
	}
	return err
}

func newAppRm(d *Deps) *cobra.Command {
	var o appOptions
	cmd := &cobra.Command{
		Use:   "rm UUID --app=APPNAME",
		Short: "Remove an app from a pod",
		Long:  "Stops the app, if it runs, and removes all its files. The pod may have ended.",
	}
	o.bind(cmd, func(ctx context.Context) error { return runAppRm(ctx, d, o) })
	return cmd
}

func runAppRm(ctx context.Context, d *Deps, o appOptions) error {
	if err := o.check("must provide the app to remove"); err != nil {
		return err
	}
	return o.appVerb(ctx, d, stage0.RemoveApp)
}
