// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// pod is the pod while it is put together.
type pod struct {
	call     entrypoint.Run
	vars     entrypoint.RunVars
	manifest *appc.PodManifest
	plan     *podplan.Pod
	net      network
	shares   shares
	cgroup   *cgroup.Pod
	lock     *os.File
}

// say prints a line for the person.
func say(format string, args ...any) {
	_, _ = io.WriteString(os.Stderr, fmt.Sprintf(format, args...)+"\n")
}

// load reads everything that decides the pod, and refuses what cannot be done.
func load(argv []string) (*pod, error) {
	p := &pod{}
	var err error
	if p.call, err = entrypoint.ParseRun(argv); err != nil {
		return nil, err
	}
	if p.vars, err = entrypoint.ParseRunVars(os.Getenv); err != nil {
		return nil, err
	}
	unix.CloseOnExec(p.vars.LockFD)
	p.lock = os.NewFile(uintptr(p.vars.LockFD), "lock")
	if err := p.refuse(); err != nil {
		return nil, err
	}
	// Before any file of the pod is touched: its mounts are not the host's.
	if err := approot.Isolate(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(poddir.PodManifest)
	if err != nil {
		return nil, err
	}
	if p.manifest, err = appc.ParsePodManifest(data); err != nil {
		return nil, fmt.Errorf("pod manifest: %w", err)
	}
	if len(p.manifest.Apps) == 0 {
		return nil, errors.New("pod must contain at least one application")
	}
	return p, p.makePlan()
}

// refuse says what a virtual machine is not for.
func (p *pod) refuse() error {
	for item := range strings.SplitSeq(p.call.Net, ",") {
		if name, _, _ := strings.Cut(item, ":"); name == entrypoint.ModeHost {
			return hint.With(errors.New("flavor kvm requires private network configuration (try --net)"),
				"a virtual machine has no part in the network namespace of the host; leave --net=host out")
		}
	}
	switch p.call.IPC {
	case "", "auto", "private":
	case "parent":
		return errors.New("flavor kvm requires private IPC namespace (try to remove --ipc)")
	default:
		return fmt.Errorf("unknown value for --ipc parameter: %v", p.call.IPC)
	}
	if p.call.PrivateUsers != "" {
		return hint.With(errors.New("flavor kvm has no user namespaces: --private-users cannot be used"),
			"leave it out: root of the pod is root of a machine of its own")
	}
	if p.call.Mutable {
		return errors.New("flavor kvm has no mutable pods")
	}
	return nil
}

// makePlan plans the pod as the guest will: what is wrong with it is said before
// a machine is started, and the plan tells how large that has to be.
func (p *pod) makePlan() error {
	s1, err := os.OpenRoot(poddir.Stage1Rootfs)
	if err != nil {
		return fmt.Errorf("open stage1: %w", err)
	}
	defer func() { _ = s1.Close() }()
	images := map[appc.Name]*appc.ImageManifest{}
	for _, a := range p.manifest.Apps {
		data, err := s1.ReadFile(poddir.AppManifest(a.Name.String()))
		if err != nil {
			return err
		}
		if images[a.Name], err = appc.ParseImageManifest(data); err != nil {
			return fmt.Errorf("image manifest of app %q: %w", a.Name, err)
		}
	}
	if p.net.ports, err = podplan.Ports(p.manifest, images); err != nil {
		return fmt.Errorf("error initializing forwarding ports: %w", err)
	}
	p.plan, err = podplan.New(p.manifest, images, podplan.Options{
		DisableCapabilities: p.call.DisableCapabilities, DisablePaths: p.call.DisablePaths, DisableSeccomp: p.call.DisableSeccomp,
		Interactive: p.call.Interactive, Recursive: true, OwnNet: true, OwnIPC: true,
	})
	return err
}

// writeSupervisor tells later commands who supervises the pod.
func writeSupervisor() error {
	start, err := profile.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	var o profile.Object
	o.Int("pid", int64(os.Getpid()))
	o.Raw("startTime", strconv.FormatUint(start, 10))
	return atomicfile.WriteNoSync(poddir.Supervisor, append(o.Bytes(), '\n'), 0o644)
}

// flavor is what the file of that name says (spec stage1.md 5).
const flavor = "kvm"

// writeConfig writes runtime-config (spec stage1.md 5) and the flavor link.
func (p *pod) writeConfig() error {
	var insecure, o profile.Object
	insecure.Bool("DisablePaths", p.call.DisablePaths)
	insecure.Bool("DisableCapabilities", p.call.DisableCapabilities)
	insecure.Bool("DisableSeccomp", p.call.DisableSeccomp)
	o.String("MetadataServiceURL", "")
	o.String("PrivateUsers", p.call.PrivateUsers)
	o.String("MDSToken", p.call.MDSToken)
	o.String("Hostname", p.call.Hostname)
	o.Bool("Debug", p.call.Debug)
	o.Bool("Mutable", p.call.Mutable)
	o.String("ResolvConfMode", p.call.ResolvMode)
	o.String("EtcHostsMode", p.call.HostsMode)
	o.Raw("NetList", "{}")
	o.Bool("Interactive", p.call.Interactive)
	o.Raw("InsecureOptions", string(insecure.Bytes()))
	o.String("IPCMode", p.call.IPC)
	if err := atomicfile.WriteNoSync(poddir.RuntimeConfig, o.Bytes(), 0o644); err != nil {
		return err
	}
	if err := os.Symlink(flavor, poddir.Flavor); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// makeCgroup makes the cgroup of the pod and notes it for stop and gc.
func (p *pod) makeCgroup() error {
	h, err := cgroup.Detect()
	if err != nil {
		return err
	}
	record := func(paths []string) error {
		return atomicfile.WriteNoSync(poddir.Cgroups, []byte(strings.Join(paths, "\n")+"\n"), 0o644)
	}
	if p.cgroup, err = h.MakePod(p.call.UUID.Scope(), cgroup.PodOptions{}, record); err != nil {
		return err
	}
	return atomicfile.WriteNoSync(poddir.Subcgroup, []byte(p.cgroup.Relative()), 0o644)
}
