// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/appargs"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/stage0"
)

type appSandboxOptions struct {
	stage1          stage1Choice
	download        downloadFlags
	runtime         runtimeOptions
	ports           appargs.PodPortFlag
	sysctls         appargs.SysctlFlag
	annotations     appargs.AnnotationsFlag
	userAnnotations appargs.PairsFlag
	userLabels      appargs.PairsFlag
	noOverlay       bool
	privateUsers    bool
	uuidFileSave    string
}

func newAppSandbox(d *Deps) *cobra.Command {
	var o appSandboxOptions
	cmd := &cobra.Command{
		Use:   "sandbox [flags]",
		Short: "Create an empty pod application sandbox",
		Long: "Starts a pod without apps, in the foreground. Apps are added with \"rkt app add\" as soon as " +
			"\"rkt status --wait-ready\" says that the pod is ready. It lasts until \"rkt stop\", whatever becomes of its apps.",
		Annotations: map[string]string{exitStatuses: "0\tthe pod was stopped in order\n" +
			"1\tthe pod could not be prepared\n254\tstage1 does not support mutable pods, or did not start the pod"},
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAppSandbox(cmd.Context(), d, o) },
	}
	flags := cmd.Flags()
	o.stage1.bind(flags)
	o.download.bind(flags)
	o.runtime.bindNames(flags)
	flags.Var(&o.runtime.net, "net", netUsage+" Syntax: --net=n[:args], ...")
	flags.Var(&o.ports, "port", "ports to expose on the host, syntax: NAME:PROTO:PODPORT:HOSTIP:HOSTPORT (requires contained network)")
	flags.Var(&o.sysctls, "sysctl", sysctlUsage)
	flags.Var(&o.annotations, "annotation", "set the pod's annotations (example: '--annotation=foo=bar')")
	flags.Var(&o.userAnnotations, "user-annotation", "set the pod's user annotations (example: '--user-annotation=foo=bar')")
	flags.Var(&o.userLabels, "user-label", "set the pod's user labels (example: '--user-label=foo=bar')")
	flags.BoolVar(&o.noOverlay, "no-overlay", false, "disable overlay filesystem")
	flags.BoolVar(&o.privateUsers, "private-users", false, "run within user namespaces")
	flags.StringVar(&o.uuidFileSave, "uuid-file-save", "", "write out pod UUID to specified file")
	return cmd
}

func runAppSandbox(ctx context.Context, d *Deps, o appSandboxOptions) error {
	p, env, err := o.prepare(ctx, d)
	if errors.Is(err, entrypoint.ErrMutable) {
		return err
	}
	if err != nil {
		return &statusError{statusLegacy, err}
	}
	defer func() { _ = p.Close() }()
	return becomeStage1(ctx, d, p, o.runtime, env)
}

func (o *appSandboxOptions) prepare(ctx context.Context, d *Deps) (*pod.Pod, stage0.Env, error) {
	if err := firstError(o.checkPrivateUsers, o.runtime.checkValues); err != nil {
		return nil, stage0.Env{}, err
	}
	env, err := d.stage0Env(ctx)
	if err != nil {
		return nil, env, err
	}
	c := stage0.PrepareConfig{
		Env:             env,
		Version:         version,
		Mutable:         true,
		Ports:           o.ports,
		Annotations:     appc.Annotations(o.annotations),
		UserAnnotations: o.userAnnotations,
		UserLabels:      o.userLabels,
		NoOverlay:       o.noOverlay,
		PrivateUsers:    o.privateUsers,
		UUIDFileSave:    o.uuidFileSave,
	}
	if c.Isolators, err = o.sysctls.Isolators(); err != nil {
		return nil, env, err
	}
	f, err := d.fetcher(ctx, &o.download)
	if err != nil {
		return nil, env, err
	}
	if c.Stage1, err = d.findStage1(ctx, f, o.stage1); err != nil {
		return nil, env, err
	}
	p, err := stage0.Prepare(ctx, c)
	return p, env, err
}

func (o *appSandboxOptions) checkPrivateUsers() error {
	return (&podOptions{privateUsers: o.privateUsers}).checkPrivateUsers()
}
