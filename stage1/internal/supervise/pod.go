// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage1/internal/inside"
	"github.com/rkt/rkt/v2/stage1/internal/nspawn"
	"github.com/rkt/rkt/v2/stage1/internal/units"
)

// pod is a pod while it is put together. The working directory is the pod's
// directory throughout.
type pod struct {
	call     entrypoint.Run
	vars     entrypoint.RunVars
	flavor   string
	plan     *podplan.Pod
	apps     map[string]*app
	order    []string
	manifest *appc.PodManifest
	s1       *os.Root // root of stage1
	users    users
	rlimits  []profile.Rlimit
	cgroup   *cgroup.Pod
	net      network
	// metadataURL is where apps find the metadata service, empty if they do not.
	metadataURL string
	sockets     activation    // what rkt was started with
	guard       *inside.Guard // nil in programs that are not the supervisor
	warm        chan struct{} // closed when the first app is being started
}

// users is the user namespace of the pod; the zero value means the host's.
type users struct{ shift, count uint32 }

// app is an app of the pod with what was resolved for its start.
type app struct {
	plan *podplan.App
	prof *profile.Profile // as launch gets it
	v1   []string         // cgroup directories of its limits
	// limits are those of its cgroup on v2.
	limits cgroup.Limits
	// devices are those that its volumes are.
	devices []devfilter.Rule
}

// say prints a line for the person.
func say(format string, args ...any) {
	_, _ = io.WriteString(os.Stderr, fmt.Sprintf(format, args...)+"\n")
}

// load reads everything that decides the pod, and refuses what cannot be done.
// With an error, too, it returns a pod if there is a guard to end.
func load(argv []string) (*pod, error) {
	r, err := entrypoint.ParseRun(argv)
	if err != nil {
		return nil, err
	}
	vars, err := entrypoint.ParseRunVars(os.Getenv)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(vars.LockFD)
	p := &pod{call: r, vars: vars, apps: map[string]*app{}, sockets: takeActivation()}
	if p.guard, err = inside.StartGuard(vars.LockFD); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("stage1.guard-started"); err != nil {
		return p, err
	}
	if p.rlimits, err = confine.Rlimits(); err != nil {
		return p, err
	}
	switch r.IPC {
	case "", "auto", "private", "parent":
	default:
		return p, fmt.Errorf("unknown value for --ipc parameter: %v", r.IPC)
	}
	if err := p.parseUsers(); err != nil {
		return p, err
	}
	if err := p.parseNet(); err != nil {
		return p, err
	}
	if p.call.Hostname == "" {
		p.call.Hostname = nspawn.Name(r.UUID)
	}
	// Before any file of the pod is touched: its mounts are not the host's.
	if err := approot.Isolate(); err != nil {
		return p, err
	}
	if p.s1, err = os.OpenRoot(poddir.Stage1Rootfs); err != nil {
		return p, fmt.Errorf("open stage1: %w", err)
	}
	if p.flavor, err = p.s1.Readlink("flavor"); err != nil {
		return p, fmt.Errorf("flavor of stage1: %w", err)
	}
	return p, p.loadManifests()
}

func (p *pod) parseUsers() error {
	if p.call.PrivateUsers == "" {
		return nil
	}
	shift, count, ok := strings.Cut(p.call.PrivateUsers, ":")
	s, err1 := strconv.ParseUint(shift, 10, 32)
	c, err2 := strconv.ParseUint(count, 10, 32)
	if !ok || err1 != nil || err2 != nil || s == 0 || c == 0 || s+c > 1<<32-1 {
		return fmt.Errorf("invalid user range %q", p.call.PrivateUsers)
	}
	p.users = users{uint32(s), uint32(c)}
	return nil
}

func (p *pod) loadManifests() error {
	data, err := os.ReadFile(poddir.PodManifest)
	if err != nil {
		return err
	}
	if p.manifest, err = appc.ParsePodManifest(data); err != nil {
		return fmt.Errorf("pod manifest: %w", err)
	}
	if len(p.manifest.Apps) == 0 && !p.call.Mutable {
		return errors.New("pod must contain at least one application")
	}
	images := map[appc.Name]*appc.ImageManifest{}
	for _, a := range p.manifest.Apps {
		if images[a.Name], err = readImage(p.s1, a.Name); err != nil {
			return err
		}
	}
	if p.net.ports, err = podplan.Ports(p.manifest, images); err != nil {
		return fmt.Errorf("error initializing forwarding ports: %w", err)
	}
	if p.plan, err = podplan.New(p.manifest, images, p.options()); err != nil {
		return err
	}
	for i := range p.plan.Apps {
		name := p.plan.Apps[i].Name.String()
		if err := units.CheckName(name); err != nil {
			return err
		}
		p.order = append(p.order, name)
		p.apps[name] = &app{plan: &p.plan.Apps[i]}
	}
	return nil
}

func readImage(s1 *os.Root, name appc.Name) (*appc.ImageManifest, error) {
	data, err := s1.ReadFile(poddir.AppManifest(name.String()))
	if err != nil {
		return nil, err
	}
	m, err := appc.ParseImageManifest(data)
	if err != nil {
		return nil, fmt.Errorf("image manifest of app %q: %w", name, err)
	}
	return m, nil
}

func (p *pod) options() podplan.Options {
	return podplan.Options{
		DisableCapabilities: p.call.DisableCapabilities,
		DisablePaths:        p.call.DisablePaths,
		DisableSeccomp:      p.call.DisableSeccomp,
		Interactive:         p.call.Interactive,
		Recursive:           true,
		CopyUpAll:           false,
		OwnNet:              !p.net.host,
		OwnIPC:              p.call.IPC != "parent",
	}
}

// asPodRoot runs fn with the file system identity of root in the pod: files it
// makes in the pod's trees belong to that.
func (p *pod) asPodRoot(fn func() error) error {
	if p.users.count == 0 {
		return fn()
	}
	return idmap.WithRoot(p.users.shift, fn)
}

// write writes a file of stage1's tree that nobody reads yet.
func (p *pod) write(name string, data []byte, mode os.FileMode) error {
	if err := p.s1.WriteFile(name, data, mode); err != nil {
		return fmt.Errorf("write into stage1: %w", err)
	}
	return nil
}

// supervisorFile tells later commands who supervises the pod.
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

// prepare puts the pod together up to the point where systemd-nspawn is started.
func (p *pod) prepare() error {
	if err := writeSupervisor(); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.supervisor-written"); err != nil {
		return err
	}
	if err := p.startNet(); err != nil {
		return err
	}
	if err := p.makeCgroup(); err != nil {
		return err
	}
	steps := []step{
		{"userspace", p.showHost},
		{"names", p.writeNames},
		{"trees", p.assembleTrees},
	}
	if err := p.eachStep(steps); err != nil {
		return err
	}
	if p.call.MDSToken != "" { // the environment of the apps has to name an address of the network
		if err := p.joinNet(); err != nil {
			return err
		}
		if err := p.findMetadata(mds.Default); err != nil {
			return err
		}
	}
	steps = []step{
		{"profiles", p.writeProfiles},
		{"units", p.writeUnits},
	}
	if err := p.eachStep(steps); err != nil {
		return err
	}
	if err := p.limit(); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.limited"); err != nil {
		return err
	}
	if err := p.writeHostProfiles(); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.host-profiles"); err != nil {
		return err
	}
	if err := p.joinNet(); err != nil {
		return err
	}
	if err := p.writeConfig(); err != nil {
		return err
	}
	return failpoint.Hit("stage1.prepared")
}

// step is a part of preparing the pod that is done as its root.
type step struct {
	name string
	do   func() error
}

func (p *pod) eachStep(steps []step) error {
	for _, s := range steps {
		if err := p.asPodRoot(s.do); err != nil {
			return err
		}
		if err := failpoint.Hit("stage1." + s.name); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) appRoot(name string) string {
	return filepath.Join(poddir.Stage1Rootfs, poddir.AppRootfs(name))
}
