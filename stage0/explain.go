// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage0/internal/manifest"
)

// ExplainConfig is what only the command knows.
type ExplainConfig struct {
	Env
	// Fetch are the insecure options for fetching; nil: of no interest.
	Fetch []string
	// Verification tells how the origin of an image was checked.
	Verification func(appc.ImageID) explain.Verification
	// Stage1ID finds the stage1 image of a tree, empty if the store has it no
	// more. For pods only.
	Stage1ID func(ctx context.Context, name, treeID string) appc.ImageID
	// Stage1From tells where the store has a stage1 image from.
	Stage1From func(appc.ImageID) string
}

// ExplainRun tells what "rkt run" would do, and makes no pod.
func ExplainRun(ctx context.Context, c PrepareConfig, r RunConfig, e ExplainConfig) (*explain.Report, error) {
	pl, err := c.plan()
	if err != nil {
		return nil, err
	}
	if err := pl.podManifest(&c); err != nil {
		return nil, err
	}
	call, warnings, err := r.asCalled(pl.stage1)
	if err != nil {
		return nil, err
	}
	in := explain.Input{
		Subject: explain.OfFlags, State: explain.StatePlanned, Manifest: pl.manifest, Overlay: pl.overlay,
		Images: map[appc.Name]*appc.ImageManifest{}, Apps: map[appc.Name]explain.AppInput{},
		Call: call, Started: true, NetKnown: true, PrivateUsers: c.PrivateUsers, Fetch: e.Fetch,
		Stage1: explain.Stage1Input{
			Manifest: pl.stage1, ID: string(c.Stage1.Key()), From: e.Stage1From(c.Stage1), Verification: e.Verification(c.Stage1),
		},
	}
	if c.PodManifest != nil {
		in.Subject = explain.OfManifest
	}
	if in.Host, err = hostFacts(); err != nil {
		return nil, err
	}
	if err := e.lookIntoImages(ctx, pl, &in); err != nil {
		return nil, err
	}
	report, err := explain.New(in)
	if err != nil {
		return nil, err
	}
	report.Warnings = append(warnings, report.Warnings...)
	return report, nil
}

// asCalled is the call of stage1 as the image understands it: what its
// interface version has no word for is gone.
func (c *RunConfig) asCalled(stage1 *appc.ImageManifest) (entrypoint.Run, []string, error) {
	version, err := entrypoint.Version(stage1)
	if err != nil {
		return entrypoint.Run{}, nil, err
	}
	const nobody = "00000000-0000-4000-8000-000000000000"
	call := entrypoint.Run{
		Path: "run", Net: c.Net, Interactive: c.Interactive, Hostname: c.Hostname,
		ResolvMode: c.DNS.ResolvMode, HostsMode: c.DNS.HostsMode,
		DisableCapabilities: c.DisableCapabilities, DisablePaths: c.DisablePaths, DisableSeccomp: c.DisableSeccomp,
		IPC: c.IPC, UUID: nobody,
	}
	argv, warnings := call.Argv(version)
	parsed, err := entrypoint.ParseRun(argv)
	return parsed, warnings, err
}

// lookIntoImages renders the images of a plan, as starting them would, and
// looks into each.
func (c *ExplainConfig) lookIntoImages(ctx context.Context, pl *plan, in *explain.Input) error {
	locks := filepath.Join(c.DataDir, poddir.Locks)
	if err := os.MkdirAll(locks, 0o750); err != nil {
		return fmt.Errorf("create lock directory: %w", err)
	}
	prepareLock, err := lock.Key(ctx, locks, poddir.PrepareLock, lock.Shared)
	if err != nil {
		return fmt.Errorf("take prepare lock: %w", err)
	}
	defer func() { _ = prepareLock.Close() }()
	for i := range pl.manifest.Apps {
		ra, image := &pl.manifest.Apps[i], pl.images[i]
		if err := manifest.CheckLabels(image.Manifest.Labels); err != nil {
			return fmt.Errorf("image %s: %w", image.ID.Key(), err)
		}
		tree, err := c.Trees.Render(ctx, image.ID.Key())
		if err != nil {
			return fmt.Errorf("error rendering image %s: %w", image.ID.Key(), err)
		}
		ra.Image.ID = image.ID.Key()
		in.Images[ra.Name] = image.Manifest
		in.Apps[ra.Name] = explain.AppInput{
			Verification: c.Verification(image.ID),
			Found:        c.lookInto(tree.Lowers, ra, image.Manifest, in.Manifest.Volumes),
		}
	}
	return nil
}

// hostFacts are what the machine can do and what an app would inherit.
func hostFacts() (explain.HostInput, error) {
	h, err := cgroup.Detect()
	if err != nil {
		return explain.HostInput{}, err
	}
	out := explain.HostInput{Cgroups: string(h.Layout()), Controllers: map[string]int{}}
	for _, c := range []string{cgroup.Memory, cgroup.CPU, cgroup.Pids, cgroup.IO} {
		out.Controllers[c] = h.Version(c)
	}
	if out.Rlimits, err = confine.Rlimits(); err != nil {
		return out, err
	}
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return out, err
	}
	s, err := explain.ParseStatus(data)
	if err != nil {
		return out, fmt.Errorf("/proc/self/status: %w", err)
	}
	out.Bounding = &s.Bounding
	_, err = os.Lstat("/sys/fs/selinux/enforce")
	out.SELinux = err == nil
	return out, nil
}

// ExplainPod tells what holds the apps of a pod: what it was started with and
// what the kernel says of it; of one that was not started, what it will be.
func ExplainPod(ctx context.Context, p *pod.Pod, c ExplainConfig) (*explain.Report, error) {
	if !p.State().HasManifest() {
		return nil, fmt.Errorf("pod %q is %s: there is nothing to explain yet", p.UUID(), p.State())
	}
	x := &podExplainer{ExplainConfig: &c, pod: p}
	defer x.close()
	if err := x.read(ctx); err != nil {
		return nil, err
	}
	return explain.New(x.in)
}

// podExplainer reads the directory of a pod. What it reads there is out of the
// reach of the pod's apps, unless it is below stage1.
type podExplainer struct {
	*ExplainConfig
	pod   *pod.Pod
	in    explain.Input
	roots []func() error // to close
}

func (x *podExplainer) close() {
	for _, fn := range x.roots {
		_ = fn()
	}
}

// path names a file of the pod directory, wherever that moves.
func (x *podExplainer) path(rel string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(x.pod.FD()), rel)
}

func (x *podExplainer) read(ctx context.Context) error {
	in := &x.in
	in.UUID, in.State = x.pod.UUID().String(), string(x.pod.State())
	in.Images, in.Apps = map[appc.Name]*appc.ImageManifest{}, map[appc.Name]explain.AppInput{}
	var err error
	if in.Manifest, err = x.pod.Manifest(); err != nil {
		return err
	}
	if in.Overlay, err = x.pod.UsesOverlay(); err != nil {
		return err
	}
	if in.Host, err = hostFacts(); err != nil {
		return err
	}
	if err := x.readStage1(ctx); err != nil {
		return err
	}
	if err := x.readCall(); err != nil {
		return err
	}
	for i := range in.Manifest.Apps {
		if err := x.readApp(ctx, &in.Manifest.Apps[i]); err != nil {
			return err
		}
	}
	return x.readNetworks()
}

func (x *podExplainer) readStage1(ctx context.Context) error {
	m, err := x.pod.Stage1Manifest()
	if err != nil {
		return err
	}
	s := &x.in.Stage1
	s.Manifest, s.Verification = m, explain.Verification{Status: explain.VerifiedUnknown, Detail: "the image is not in the store any more"}
	// fly leaves none; the name of its image tells.
	if s.Flavor, err = os.Readlink(x.path(poddir.Flavor)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tree, err := x.pod.Stage1TreeID()
	if err != nil {
		return err
	}
	if id := x.Stage1ID(ctx, m.Name.String(), tree); id != "" {
		s.ID, s.From, s.Verification = string(id), x.Stage1From(id), x.Verification(id)
	}
	return nil
}

// runtimeConfig is the part of the file of that name that is told of.
type runtimeConfig struct {
	Hostname        string
	ResolvConfMode  string
	EtcHostsMode    string
	Interactive     bool
	IPCMode         string
	InsecureOptions struct{ DisablePaths, DisableCapabilities, DisableSeccomp bool }
}

// readCall reads how the pod was started, if it was.
func (x *podExplainer) readCall() error {
	users, err := x.pod.PrivateUsers()
	if err != nil {
		return err
	}
	in := &x.in
	in.Call.PrivateUsers, in.PrivateUsers = users, users != ""
	data, err := os.ReadFile(x.path(poddir.RuntimeConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var c runtimeConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("read %s: %w", poddir.RuntimeConfig, err)
	}
	in.Started = true
	in.Call.Hostname, in.Call.ResolvMode, in.Call.HostsMode = c.Hostname, c.ResolvConfMode, c.EtcHostsMode
	in.Call.Interactive, in.Call.IPC = c.Interactive, c.IPCMode
	o := c.InsecureOptions
	in.Call.DisableCapabilities, in.Call.DisablePaths, in.Call.DisableSeccomp = o.DisableCapabilities, o.DisablePaths, o.DisableSeccomp
	return nil
}

func (x *podExplainer) readNetworks() error {
	nets, err := x.pod.Networks()
	for _, n := range nets {
		x.in.Interfaces = append(x.in.Interfaces, explain.Interface{Network: n.Name, Name: n.IfName, IP: n.IP})
	}
	return err
}

func (x *podExplainer) readApp(ctx context.Context, ra *appc.RuntimeApp) error {
	image, _, err := x.pod.AppImageManifest(ra.Name)
	if err != nil {
		return err
	}
	x.in.Images[ra.Name] = image
	a := explain.AppInput{Verification: x.Verification(ra.Image.ID)}
	if a.Record, err = x.record(ra.Name); err != nil {
		return err
	}
	if a.Record == nil {
		a.Found = x.lookIntoPod(ctx, ra, image)
	} else if x.pod.State() == pod.Running {
		a.Process = x.process(ra.Name, a.Record)
	}
	x.in.Apps[ra.Name] = a
	return nil
}

// record is what the app was started with: nspawn keeps one for each app, fly
// one for the pod.
func (x *podExplainer) record(app appc.Name) (*profile.Profile, error) {
	for _, rel := range []string{poddir.AppHost(app.String()), poddir.AppProfile} {
		prof, err := profile.ReadFile(x.path(rel))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case prof.App != app.String():
			return nil, fmt.Errorf("%s is about another app, %q", rel, prof.App)
		}
		return prof, nil
	}
	return nil, nil //nolint:nilnil // an app that was not started has none
}
