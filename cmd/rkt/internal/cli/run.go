// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/appargs"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/stage0"
)

type runOptions struct {
	pod     podOptions
	runtime runtimeOptions
}

const runStatuses = "0\tevery app ended with 0, or the pod was stopped in order\n" +
	"254\trkt could not start the pod\n" +
	"other\tthat of the app (fly), of the first app that failed (other stage1s)"

func newRun(d *Deps) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [app flags] [-- args...] [--- IMAGE...]",
		Short: "Run image(s) in a pod in rkt",
		Long: "IMAGE should be a string referencing an image; either an ID, local file on disk, URL, docker or OCI reference, or image name.\n" +
			"They will be checked in that order and the first match will be used.\n\n" +
			"An \"--\" may be used to inhibit rkt run's parsing of subsequent arguments, which will instead be appended to the preceding image app's exec arguments. " +
			"End the image arguments with a lone \"---\" to resume argument parsing.",
		Annotations: map[string]string{needsRoot: "true", exitStatuses: runStatuses},
		RunE:        func(cmd *cobra.Command, _ []string) error { return runRun(cmd.Context(), d, o) },
	}
	o.pod.bind(cmd)
	o.runtime.bind(cmd.Flags())
	cmd.Flags().StringVar(&o.pod.uuidFileSave, "uuid-file-save", "", "write out pod UUID to specified file")
	return cmd
}

func (o *runOptions) check() error {
	return firstError(o.pod.checkArgs, o.pod.checkPull, o.pod.checkPrivateUsers, o.checkPorts, o.runtime.checkMDS,
		o.pod.checkPodManifest, o.checkInteractive, o.pod.checkImages, o.runtime.checkValues)
}

func (o *runOptions) checkPorts() error {
	for _, name := range []string{appargs.NetNone, appargs.NetHost} {
		if len(o.pod.ports) > 0 && o.runtime.net.Has(name) {
			return fmt.Errorf("--port flag does not work with '%s' networking", name)
		}
	}
	return nil
}

func (o *runOptions) checkInteractive() error {
	if o.runtime.interactive && len(o.pod.images.Apps) > 1 {
		return errors.New("interactive option only supports one image")
	}
	return nil
}

func runRun(ctx context.Context, d *Deps, o runOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := o.pod.prepareConfig(ctx, d)
	if err != nil {
		return err
	}
	if err := o.checkManifestApps(c.PodManifest); err != nil {
		return err
	}
	c.RunNow = true
	p, err := stage0.Prepare(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	return becomeStage1(ctx, d, p, o.runtime, c.Env)
}

// checkManifestApps counts the apps of a pod manifest file. A manifest that
// cannot be parsed is for Prepare to report.
func (o *runOptions) checkManifestApps(data []byte) error {
	if !o.runtime.interactive || data == nil {
		return nil
	}
	m, err := appc.ParsePodManifest(data)
	if err == nil && len(m.Apps) > 1 {
		return errInteractivePod
	}
	return nil
}

var errInteractivePod = errors.New("interactive option only supports pods with one app")

func checkOneApp(p *pod.Pod) error {
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	if len(m.Apps) > 1 {
		return errInteractivePod
	}
	return nil
}

// becomeStage1 starts the pod; it returns only on failure.
func becomeStage1(ctx context.Context, d *Deps, p *pod.Pod, o runtimeOptions, env stage0.Env) error {
	c, err := o.runConfig(d, env)
	if err != nil {
		return err
	}
	if err := d.stopProfile(); err != nil { // exec would lose it
		return err
	}
	return stage0.Run(ctx, p, c)
}
