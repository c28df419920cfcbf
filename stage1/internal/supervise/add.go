// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage1/internal/units"
)

// Running is a running pod as a program on the host sees it that is not its
// supervisor.
type Running struct {
	pod    *pod
	leader int
}

// runtimeConfig is the part of the file that decides about apps added later.
type runtimeConfig struct {
	MetadataServiceURL string
	PrivateUsers       string
	Hostname           string
	IPCMode            string
	InsecureOptions    struct{ DisablePaths, DisableCapabilities, DisableSeccomp bool }
}

// OpenRunning opens the pod whose directory is the working directory and whose
// PID 1 is leader.
func OpenRunning(call entrypoint.App, leader int) (*Running, error) {
	data, err := os.ReadFile(poddir.RuntimeConfig)
	if err != nil {
		return nil, err
	}
	var c runtimeConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("read %s: %w", poddir.RuntimeConfig, err)
	}
	p := &pod{apps: map[string]*app{}, metadataURL: c.MetadataServiceURL, call: entrypoint.Run{
		UUID: call.UUID, PrivateUsers: c.PrivateUsers, Hostname: c.Hostname, IPC: c.IPCMode, Mutable: true,
		DisablePaths: c.InsecureOptions.DisablePaths, DisableCapabilities: c.InsecureOptions.DisableCapabilities,
		DisableSeccomp: c.InsecureOptions.DisableSeccomp,
	}}
	if err := p.parseUsers(); err != nil {
		return nil, err
	}
	if p.rlimits, err = confine.Rlimits(); err != nil {
		return nil, err
	}
	root := "/proc/" + strconv.Itoa(leader) + "/root"
	if p.s1, err = os.OpenRoot(root); err != nil {
		return nil, fmt.Errorf("tree of the pod: %w", err)
	}
	return &Running{pod: p, leader: leader}, nil
}

// Add makes an app of the pod startable: its volumes are mounted, its limits
// set, its unit written. The app's tree is in place already.
func (r *Running) Add(name string) error {
	if err := units.CheckName(name); err != nil {
		return err
	}
	p := r.pod
	if err := p.loadApp(name); err != nil {
		return err
	}
	if err := p.openCgroup(); err != nil {
		return err
	}
	a := p.apps[name]
	for _, w := range a.plan.Mounts.Warnings {
		say("%s", w)
	}
	volumes, err := approot.CloneVolumes(a.plan.Mounts, poddir.SharedVolumes, p.idmap())
	if err != nil {
		return err
	}
	defer volumes.Close()
	if a.devices, err = deviceRules(volumes); err != nil {
		return err
	}
	if err := p.limitApp(name); err != nil {
		return err
	}
	dir := "/proc/" + strconv.Itoa(r.leader) + "/root/" + poddir.AppRootfs(name)
	steps := []func() error{
		func() error {
			return inMountNamespace(r.leader, func() error { return p.asPodRoot(func() error { return putVolumes(name, volumes) }) })
		},
		func() error { return failpoint.Hit("app-add.mounted") },
		func() error { return p.asPodRoot(func() error { return p.writeApp(name, dir) }) },
		func() error { return failpoint.Hit("app-add.written") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// loadApp makes the plan of an app from the manifests that stage0 has written.
func (p *pod) loadApp(name string) error {
	data, err := os.ReadFile(poddir.PodManifest)
	if err != nil {
		return err
	}
	if p.manifest, err = appc.ParsePodManifest(data); err != nil {
		return fmt.Errorf("pod manifest: %w", err)
	}
	data, err = os.ReadFile(poddir.AppInfoManifest(name))
	if err != nil {
		return err
	}
	image, err := appc.ParseImageManifest(data)
	if err != nil {
		return fmt.Errorf("image manifest of app %q: %w", name, err)
	}
	for i := range p.manifest.Apps {
		if p.manifest.Apps[i].Name.String() != name {
			continue
		}
		plan, err := podplan.NewApp(&p.manifest.Apps[i], image, p.manifest.Volumes, p.options())
		if err != nil {
			return err
		}
		p.plan = &podplan.Pod{Apps: []podplan.App{*plan}}
		p.order, p.apps[name] = []string{name}, &app{plan: plan}
		return p.checkKept(plan)
	}
	return fmt.Errorf("app %q is not in the pod manifest", name)
}

// checkKept refuses an app that wants more than the pod was started with.
func (p *pod) checkKept(a *podplan.App) error {
	if missing := a.Bounding &^ p.podCapsOf(0); missing != 0 && !p.call.DisableCapabilities {
		return fmt.Errorf("the pod was started without the capabilities %s: an app that is added later cannot have them", missing)
	}
	return nil
}

// openCgroup finds the cgroup of the pod from what its supervisor has noted.
func (p *pod) openCgroup() error {
	data, err := os.ReadFile(poddir.Supervisor)
	if err != nil {
		return err
	}
	var sup profile.Process
	if err := json.Unmarshal(data, &sup); err != nil {
		return fmt.Errorf("read %s: %w", poddir.Supervisor, err)
	}
	paths, err := recordedCgroups()
	if err != nil {
		return err
	}
	relative, err := os.ReadFile(poddir.Subcgroup)
	if err != nil {
		return err
	}
	p.cgroup, err = cgroup.OpenPod(sup.PID, p.call.UUID.Scope(), string(relative), paths, recordCgroups)
	return err
}

// inMountNamespace runs fn with the calling thread in the mount namespace of a
// process, for good: the root and the working directory are that one's after it.
func inMountNamespace(pid int, fn func() error) error {
	own, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	cwd, err := os.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = cwd.Close() }()
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter the mount namespace of the pod: %w", err)
	}
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the mount namespace of the pod: %w", err)
	}
	err = fn()
	back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNS)
	if back == nil {
		back = unix.Fchdir(int(cwd.Fd()))
	}
	return errors.Join(err, back)
}

func putVolumes(name string, volumes approot.Volumes) error {
	tree, err := approot.Open("/" + poddir.AppRootfs(name))
	if err != nil {
		return err
	}
	defer func() { _ = tree.Root().Close() }()
	return tree.PutVolumes(volumes, func(line string) { say("%s", line) })
}

// writeApp writes what starts the app, and what holds entering commands.
func (p *pod) writeApp(name, dir string) error {
	a := p.apps[name]
	var err error
	if a.prof, err = p.resolve(a.plan, dir); err != nil {
		return err
	}
	if err := p.write(poddir.AppProfileFile(name), a.prof.Marshal(), 0o600); err != nil {
		return err
	}
	if err := p.write(poddir.AppEnv(name), appenv.File(a.prof.Environment), 0o644); err != nil {
		return err
	}
	return p.writeUnit(name)
}

// WriteHost writes the profile of an added app for programs on the host.
func (r *Running) WriteHost(name string) error {
	if err := os.Mkdir(poddir.AppsHost, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return r.pod.apps[name].writeHost(name)
}

// Remove takes away everything that Add has made; what is missing is no error.
func (r *Running) Remove(name string) error {
	errs := []error{inMountNamespace(r.leader, func() error { return unmountAll("/" + poddir.AppRootfs(name)) })}
	for _, file := range []string{
		filepath.Join(units.Dir, units.Service(name)), poddir.AppProfileFile(name), poddir.AppEnv(name),
	} {
		errs = append(errs, ignoreMissing(r.pod.s1.Remove(file)))
	}
	errs = append(errs, ignoreMissing(r.pod.s1.RemoveAll(poddir.AppStreams(name))))
	errs = append(errs, ignoreMissing(os.Remove(poddir.AppHost(name))), ignoreMissing(os.Remove(poddir.AppProcess(name))))
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// unmountAll detaches everything mounted on a directory and below.
func unmountAll(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // nothing is mounted there any more
		}
		if err != nil {
			return &os.PathError{Op: "unmount", Path: dir, Err: err}
		}
	}
}
