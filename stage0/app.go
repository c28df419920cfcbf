// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/manifest"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
)

// ErrImmutable is returned for operations on single apps of a pod that was not
// made by "app sandbox".
var ErrImmutable = errors.New("immutable pod")

// AppConfig says which app of a mutable pod to start, stop or remove.
type AppConfig struct {
	Env
	App string
}

// apps is a mutable pod under its manifest lock, so that nobody else adds,
// removes, starts or stops an app of it.
type apps struct {
	*Env
	pod      *pod.Pod
	lock     *lock.Lock
	manifest *appc.PodManifest
	users    userRange
	overlay  bool

	in     *inside // nil if the pod does not run
	stage1 *rootfs.Stage1
}

// isMutable tells whether apps can be added to a pod.
func isMutable(m *appc.PodManifest) bool {
	v, _ := m.Annotations.Get(entrypoint.MutableAnnotation)
	return v == "true"
}

func checkMutable(p *pod.Pod) error {
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	if !isMutable(m) {
		return immutable(p)
	}
	return nil
}

func immutable(p *pod.Pod) error { return fmt.Errorf("pod %q: %w", p.UUID(), ErrImmutable) }

// checkRunning is what most operations ask for: a mutable pod that runs and
// whose supervisor is ready.
func checkRunning(p *pod.Pod) error {
	if err := p.Refresh(); err != nil {
		return err
	}
	if p.State() != pod.Running {
		return fmt.Errorf("pod %q isn't currently running", p.UUID())
	}
	if err := checkMutable(p); err != nil {
		return err
	}
	ready, err := p.IsReady()
	if err == nil && !ready {
		err = fmt.Errorf("supervisor for pod %q is not yet ready", p.UUID())
	}
	return err
}

// lockApps takes the manifest lock of a pod that runs, or ran. What was checked
// before may not hold any more.
func (e *Env) lockApps(ctx context.Context, p *pod.Pod) (*apps, error) {
	a := &apps{Env: e, pod: p}
	if err := a.open(ctx); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *apps) open(ctx context.Context) error {
	if err := a.pod.Refresh(); err != nil {
		return err
	}
	running := a.pod.State() == pod.Running
	if !running {
		if err := holdStill(ctx, a.pod); err != nil {
			return err
		}
	}
	var err error
	if a.lock, err = lock.Take(ctx, a.path(poddir.ManifestLock), lock.Exclusive); err != nil {
		return fmt.Errorf("lock the apps of pod %s: %w", a.pod.UUID(), err)
	}
	if err := a.load(); err != nil {
		return err
	}
	if running {
		a.in, err = openInside(ctx, a.pod)
		if errors.Is(err, pod.ErrNotRunning) {
			err = holdStill(ctx, a.pod)
		}
		if err != nil {
			return err
		}
	}
	return a.openStage1()
}

// openStage1 opens where files below the root of stage1 are written. What is
// mounted must not be changed behind the back of the kernel, so in a pod that
// runs it is the overlay itself, else its writable layer. A copy is the same
// directory inside and outside; outside, no volume is in the way.
func (a *apps) openStage1() error {
	rel, err := a.pod.ReadableStage1()
	if err != nil {
		return err
	}
	path, shift := a.path(rel), a.users.shift
	switch {
	case a.overlay && a.in != nil:
		path = a.in.path()
	case a.overlay:
		shift = 0 // the layer has the owners that the pod sees
	}
	a.stage1, err = rootfs.OpenStage1(path, shift)
	return err
}

// stillTime is how long somebody else may take to move a pod that has ended.
const stillTime = 5 * time.Second

// holdStill keeps gc and rm away from a pod that does not run, until it is closed.
func holdStill(ctx context.Context, p *pod.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, stillTime)
	defer cancel()
	if err := p.Lock().Wait(ctx, lock.Shared); err != nil {
		return fmt.Errorf("pod %s: %w", p.UUID(), err)
	}
	return nil
}

func (a *apps) load() error {
	var err error
	if a.manifest, err = a.pod.Manifest(); err != nil {
		return err
	}
	if !isMutable(a.manifest) {
		return immutable(a.pod)
	}
	if a.overlay, err = a.pod.UsesOverlay(); err != nil {
		return err
	}
	raw, err := a.pod.PrivateUsers()
	if err != nil {
		return err
	}
	a.users, err = parseUserRange(raw)
	return err
}

// path names something in the pod directory, wherever that moves.
func (a *apps) path(rel string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(a.pod.FD()), rel)
}

func (a *apps) close() {
	if a.stage1 != nil {
		_ = a.stage1.Close()
	}
	a.in.close()
	_ = a.lock.Close()
}

// find returns an app of the pod.
func (a *apps) find(name string) (appc.Name, error) {
	if ra := manifest.Find(a.manifest, appc.Name(name)); ra != nil {
		return ra.Name, nil
	}
	return "", nonexistent(name)
}

func nonexistent(name string) error { return fmt.Errorf("error: nonexistent app %q", name) }

// isUnfinished tells whether "app add" of an app was not done to the end.
func (a *apps) isUnfinished(name appc.Name) (bool, error) {
	return exists(a.path(poddir.AppInfoUnfinished(name.String())))
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// write replaces the pod manifest; readers see the old or the new one.
func (a *apps) write(m *appc.PodManifest) error {
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	path := a.path(poddir.PodManifest)
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, data, fi.Mode().Perm()); err != nil {
		return fmt.Errorf("replace pod manifest: %w", err)
	}
	a.manifest = m
	return nil
}

// call runs the program of stage1 for an operation on an app.
func (a *apps) call(ctx context.Context, annotation string, app appc.Name) error {
	c, err := a.crossing(ctx, a.pod, a.in.pid, annotation)
	if err != nil {
		return err
	}
	call := entrypoint.App{Path: c.prog.name, Debug: a.Debug, App: app.String()}
	if annotation == entrypoint.AnnotationAppAdd {
		call.UUID = a.pod.UUID()
	}
	return c.run(ctx, call.Argv())
}

// StartApp starts an app of a mutable pod, or starts it again after it ended.
func StartApp(ctx context.Context, p *pod.Pod, c AppConfig) error {
	if err := checkRunning(p); err != nil {
		return err
	}
	a, name, err := c.lockApp(ctx, p)
	if err != nil {
		return err
	}
	defer a.close()
	unfinished, err := a.isUnfinished(name)
	if err != nil {
		return err
	}
	if unfinished {
		return hint.With(fmt.Errorf("app %q was not added completely", name), "add it again, or remove it with \"rkt app rm\"")
	}
	return a.start(ctx, name)
}

// lockApp is lockApps for one app of a pod that has to run.
func (c *AppConfig) lockApp(ctx context.Context, p *pod.Pod) (*apps, appc.Name, error) {
	a, err := c.lockApps(ctx, p)
	if err != nil {
		return nil, "", err
	}
	name, err := a.find(c.App)
	if err == nil && a.in == nil {
		err = fmt.Errorf("pod %q isn't currently running", p.UUID())
	}
	if err != nil {
		a.close()
		return nil, "", err
	}
	return a, name, nil
}

// start changes the markers of the app so that who looks sees it exited, then
// created, then running, and never running with the status of an earlier end.
// Those of an app that runs stay.
func (a *apps) start(ctx context.Context, name appc.Name) error {
	running, err := a.seemsRunning(name.String())
	if err != nil {
		return err
	}
	if !running {
		err = a.markStarted(name.String())
	}
	if err == nil {
		err = failpoint.Hit("app-start.marked")
	}
	if err == nil {
		err = a.call(ctx, entrypoint.AnnotationAppStart, name)
	}
	if err != nil && !running {
		err = errors.Join(err, a.stage1.Remove(poddir.AppStarted(name.String())))
	}
	return err
}

func (a *apps) seemsRunning(app string) (bool, error) {
	started, err := a.stage1.Has(poddir.AppStarted(app))
	if err != nil || !started {
		return false, err
	}
	ended, err := a.stage1.Has(poddir.AppStatus(app))
	return !ended, err
}

func (a *apps) markStarted(app string) error {
	for _, name := range []string{poddir.AppStarted(app), poddir.AppStatus(app), poddir.AppExitFile(app)} {
		if err := a.stage1.Remove(name); err != nil {
			return err
		}
	}
	return a.stage1.Mark(poddir.AppStarted(app))
}

// StopApp stops an app of a mutable pod and returns when it has ended. If the
// pod has ended before, that is ErrAlreadyStopped, which reads as "pod UUID …".
func StopApp(ctx context.Context, p *pod.Pod, c AppConfig) error {
	if err := p.Refresh(); err != nil {
		return err
	}
	if p.State() == pod.Gone || p.State().IsAfterRun() {
		return fmt.Errorf("pod %q %w", p.UUID(), ErrAlreadyStopped)
	}
	if err := checkRunning(p); err != nil {
		return err
	}
	a, name, err := c.lockApp(ctx, p)
	if err != nil {
		return err
	}
	defer a.close()
	return a.stop(ctx, name)
}

// errAppNotRunning is stop's answer for an app that does not run.
var errAppNotRunning = errors.New("is not running")

func (a *apps) stop(ctx context.Context, name appc.Name) error {
	err := a.call(ctx, entrypoint.AnnotationAppStop, name)
	if exitStatus(err) == entrypoint.StatusNoUnit {
		return fmt.Errorf("app %q %w", name, errAppNotRunning)
	}
	return err
}
