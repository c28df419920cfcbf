// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/appargs"
	"github.com/rkt/rkt/v2/cmd/rkt/internal/metadata"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/stage0"
)

// podOptions say what pod to prepare: those of run and prepare.
type podOptions struct {
	images       appargs.Parser
	argsErr      error // what is wrong after the first image
	volumes      appargs.VolumeFlag
	ports        appargs.PortFlag
	inheritEnv   bool
	setEnv       appargs.EnvFlag
	setEnvFile   appargs.EnvFiles
	stage1       stage1Choice
	pull         pullFlags
	download     downloadFlags
	noOverlay    bool
	privateUsers bool
	sysctls      appargs.SysctlFlag
	podManifest  string
	uuidFileSave string // run only
}

func (o *podOptions) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.images.Bind(flags)
	o.setEnvFile.Read = os.ReadFile
	o.stage1.bind(flags)
	flags.Var(&o.volumes, "volume", "volumes to make available in the pod, syntax: NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL] or NAME,kind=empty[,mode=MODE][,uid=UID][,gid=GID]")
	flags.Var(&o.ports, "port", "ports to expose on the host, syntax: NAME:[HOSTIP:]HOSTPORT (requires contained network)")
	flags.BoolVar(&o.inheritEnv, "inherit-env", false, "inherit all environment variables not set by apps")
	flags.Var(&o.setEnv, "set-env", "environment variable to set for all the apps in the form key=value, this will be overridden by --environment")
	flags.Var(&o.setEnvFile, "set-env-file", "path to an environment variables file")
	flags.BoolVar(&o.noOverlay, "no-overlay", false, "disable overlay filesystem")
	flags.BoolVar(&o.privateUsers, "private-users", false, "run within user namespaces")
	flags.Var(&o.sysctls, "sysctl", sysctlUsage)
	flags.StringVar(&o.podManifest, "pod-manifest", "", "the path to the pod manifest. If it's non-empty, then only '--net', '--no-overlay' and '--interactive' will have effect")
	o.pull.bind(flags, fetch.New)
	o.download.bind(flags)
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		o.argsErr = o.images.Parse(cmd.Flags(), args)
		return flagFault(o.argsErr)
	}
}

func (o *podOptions) checkArgs() error {
	if o.argsErr != nil {
		return fmt.Errorf("error parsing app image arguments: %w", o.argsErr)
	}
	return o.images.CheckMounts(o.volumes)
}

func (o *podOptions) checkPull() error {
	_, err := o.pull.resolve()
	return err
}

func (o *podOptions) checkPrivateUsers() error {
	if !o.privateUsers {
		return nil
	}
	if _, err := os.Stat("/proc/self/uid_map"); err != nil {
		return errors.New("--private-users is not supported, kernel compiled without user namespace support")
	}
	return nil
}

// checkPodManifest refuses what a pod manifest file already says.
func (o *podOptions) checkPodManifest() error {
	policy, err := o.pull.resolve()
	if err != nil {
		return err
	}
	conflict := len(o.images.Apps) > 0 || len(o.volumes) > 0 || len(o.images.Mounts) > 0 || len(o.ports) > 0 ||
		len(o.sysctls) > 0 || policy != fetch.New || o.inheritEnv || len(o.setEnv.Env) > 0 || o.setEnvFile.Given()
	if o.podManifest != "" && conflict {
		return errors.New("conflicting flags set with --pod-manifest (see --help)")
	}
	return nil
}

func (o *podOptions) checkImages() error {
	if len(o.images.Apps) == 0 && o.podManifest == "" {
		return errors.New("must provide at least one image or specify the pod manifest")
	}
	return nil
}

// firstError runs checks in order.
func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// prepareConfig finds or fetches everything the pod is made of.
func (o *podOptions) prepareConfig(ctx context.Context, d *Deps) (stage0.PrepareConfig, error) {
	env, err := d.stage0Env(ctx)
	if err != nil {
		return stage0.PrepareConfig{}, err
	}
	c := stage0.PrepareConfig{
		Env:          env,
		Version:      version,
		Volumes:      o.volumes,
		Mounts:       o.images.Mounts,
		Ports:        o.ports,
		SetEnvFile:   o.setEnvFile.Env,
		SetEnv:       o.setEnv.Env,
		NoOverlay:    o.noOverlay,
		PrivateUsers: o.privateUsers,
		UUIDFileSave: o.uuidFileSave,
	}
	if c.Isolators, err = o.sysctls.Isolators(); err != nil {
		return c, err
	}
	if o.inheritEnv {
		c.InheritEnv = os.Environ()
	}
	if o.podManifest != "" {
		if c.PodManifest, err = os.ReadFile(o.podManifest); err != nil {
			return c, fmt.Errorf("cannot read pod manifest: %w", err)
		}
	}
	f, err := d.fetcher(ctx, &o.download)
	if err != nil {
		return c, err
	}
	if c.Stage1, err = d.findStage1(ctx, f, o.stage1); err != nil {
		return c, err
	}
	c.Apps, err = o.apps(ctx, f)
	return c, err
}

// apps fetches the images in order; the first failure ends it.
func (o *podOptions) apps(ctx context.Context, f *fetch.Fetcher) ([]stage0.App, error) {
	policy, err := o.pull.resolve()
	if err != nil {
		return nil, err
	}
	var apps []stage0.App
	for _, a := range o.images.Apps {
		id, err := f.Fetch(ctx, a.Image, fetch.ImageOptions{Policy: policy, Signature: a.Signature})
		if err != nil {
			return nil, err
		}
		apps = append(apps, newStage0App(id, a))
	}
	return apps, nil
}

// newStage0App is what the command line says about the image that was found.
func newStage0App(id appc.ImageID, a appargs.App) stage0.App {
	return stage0.App{
		Image:             id,
		Name:              a.Name,
		Exec:              a.Exec,
		Args:              a.Args,
		User:              a.User,
		Group:             a.Group,
		SupplementaryGIDs: a.SupplementaryGIDs,
		WorkingDir:        a.WorkingDir,
		ReadOnlyRootFS:    a.ReadOnlyRootFS,
		Environment:       a.Environment,
		Mounts:            a.Mounts,
		Isolators:         a.Isolators,
		Annotations:       a.Annotations,
		UserAnnotations:   a.UserAnnotations,
		UserLabels:        a.UserLabels,
		Stdin:             a.Stdin,
		Stdout:            a.Stdout,
		Stderr:            a.Stderr,
	}
}

// stage0Env is what every verb on pods gets.
func (d *Deps) stage0Env(ctx context.Context) (stage0.Env, error) {
	dir, err := d.DataDir()
	if err != nil {
		return stage0.Env{}, err
	}
	images, err := d.Images(ctx)
	if err != nil {
		return stage0.Env{}, err
	}
	trees, err := d.Trees(ctx)
	if err != nil {
		return stage0.Env{}, err
	}
	trace := d.Logger("stage0")
	return stage0.Env{
		DataDir: dir,
		Images:  images,
		Trees:   trees,
		Stdout:  d.Stdout,
		Stderr:  d.Stderr,
		Debug:   d.Global.Debug,
		Say:     func(msg string) { d.errorf("%s", msg) },
		Trace:   func(msg string) { trace.Debug(msg) },
	}, nil
}

// runtimeOptions say how to run a pod: those of run and run-prepared.
type runtimeOptions struct {
	net         appargs.NetFlag
	dns         appargs.DNSFlags
	hostname    string
	ipc         string
	interactive bool
	register    bool
	tpm         tpmFlags
}

func (o *runtimeOptions) bind(flags *pflag.FlagSet) {
	flags.Var(&o.net, "net", netUsage+" Syntax: --net[=n[:args], ...]")
	flags.Lookup("net").NoOptDefVal = appargs.NetDefault
	o.bindNames(flags)
	flags.StringVar(&o.ipc, "ipc", "", "whether to stay in the host IPC namespace; allowed values: \"auto\", \"private\", \"parent\"")
	flags.BoolVar(&o.interactive, "interactive", false, "run pod interactively. If true, only one image may be supplied")
	flags.BoolVar(&o.register, "mds-register", false, "register pod with metadata service. needs network connectivity to the host (--net=(default|default-restricted|host))")
}

const sysctlUsage = "kernel parameter of the pod's own namespaces, syntax: NAME=VALUE, may be repeated: net.* (with a network of the pod's own), kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* (not with --ipc=parent), kernel.domainname"

const netUsage = "configure the pod's networking. Optionally, pass a list of user-configured networks to load and set arguments to pass to each network, respectively."

// bindNames adds the flags about the pod's host name and the names it knows.
func (o *runtimeOptions) bindNames(flags *pflag.FlagSet) {
	flags.Var(&o.dns.Servers, "dns", "name servers to write in /etc/resolv.conf; also \"host\" or \"none\"")
	flags.Var(&o.dns.Search, "dns-search", "DNS search domains to write in /etc/resolv.conf")
	flags.Var(&o.dns.Options, "dns-opt", "DNS options to write in /etc/resolv.conf")
	flags.StringVar(&o.dns.Domain, "dns-domain", "", "DNS domain to write in /etc/resolv.conf")
	flags.Var(&o.dns.HostsEntries, "hosts-entry", "entries to add to the pod-wide /etc/hosts, syntax: IP=NAME[,IP=NAME...]; also \"host\"")
	flags.StringVar(&o.hostname, "hostname", "", "pod's hostname. If empty, it will be \"rkt-$PODUUID\"")
	o.tpm.bind(flags)
}

// checkMDS refuses registration of a pod that could not reach the service.
func (o *runtimeOptions) checkMDS() error {
	if o.register && o.net.Has(appargs.NetNone) {
		return errors.New("--mds-register flag does not work with --net=none. Please use 'host', 'default' or an equivalent network")
	}
	return nil
}

// checkValues validates what stage1 would otherwise find after the pod was made.
func (o *runtimeOptions) checkValues() error {
	if _, err := o.dns.DNS(); err != nil {
		return fmt.Errorf("error with dns flags: %w", err)
	}
	if err := appargs.CheckHostname(o.hostname); err != nil {
		return err
	}
	if err := appargs.CheckIPC(o.ipc); err != nil {
		return err
	}
	return o.tpm.check()
}

// runConfig is what stage0 needs beside the pod.
func (o *runtimeOptions) runConfig(d *Deps, env stage0.Env) (stage0.RunConfig, error) {
	dns, err := o.dns.DNS()
	if err != nil {
		return stage0.RunConfig{}, err
	}
	in := d.Global.Insecure
	c := stage0.RunConfig{
		Env:                 env,
		Net:                 o.net.String(),
		Interactive:         o.interactive,
		LocalConfig:         d.Global.LocalConfig,
		ConfigDirs:          d.configDirs().Rising(),
		Hostname:            o.hostname,
		DisableCapabilities: in.Capabilities,
		DisablePaths:        in.Paths,
		DisableSeccomp:      in.Seccomp,
		IPC:                 o.ipc,
		Environ:             os.Environ(),
		DNS: stage0.DNS{
			ResolvMode: dns.ResolvMode,
			Servers:    dns.Servers,
			Search:     dns.Search,
			Options:    dns.Options,
			Domain:     dns.Domain,
			HostsMode:  dns.HostsMode,
		},
	}
	if o.register {
		c.Register = metadata.NewClient(d.MDS).Register
	}
	c.Measure = o.tpm.measure(d)
	for _, h := range dns.Hosts {
		c.DNS.Hosts = append(c.DNS.Hosts, stage0.HostsEntry(h))
	}
	return c, nil
}
