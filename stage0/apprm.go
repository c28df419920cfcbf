// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/deltree"
	"github.com/rkt/rkt/v2/stage0/internal/manifest"
)

// RemoveApp stops an app of a mutable pod, if it runs, and removes everything
// of it. The pod may have ended. An app of which an interrupted addition or
// removal has left a part only can be removed, too.
func RemoveApp(ctx context.Context, p *pod.Pod, c AppConfig) error {
	if err := checkRemovable(p); err != nil {
		return err
	}
	name, err := appc.NewName(c.App) // it becomes a path component
	if err != nil {
		return nonexistent(c.App)
	}
	a, err := c.lockApps(ctx, p)
	if err != nil {
		return err
	}
	defer a.close()
	left, err := a.hasTraces(name)
	if err != nil {
		return err
	}
	if !left {
		return nonexistent(c.App)
	}
	if err := a.withdraw(ctx, name); err != nil {
		return err
	}
	return a.erase(name)
}

func checkRemovable(p *pod.Pod) error {
	if err := p.Refresh(); err != nil {
		return err
	}
	if err := checkMutable(p); err != nil {
		return err
	}
	if p.State() != pod.Running {
		return nil
	}
	ready, err := p.IsReady()
	if err == nil && !ready {
		err = fmt.Errorf("pod %q is running but its supervisor is not ready yet", p.UUID())
	}
	return err
}

// hasTraces tells whether there is anything of an app, or of one that had its name.
func (a *apps) hasTraces(name appc.Name) (bool, error) {
	if manifest.Find(a.manifest, name) != nil {
		return true, nil
	}
	found, err := exists(a.path(poddir.AppInfoDir(name.String())))
	if found || err != nil {
		return found, err
	}
	return a.stage1.Has(poddir.AppDir(name.String()))
}

// withdraw makes the supervisor of a running pod stop and forget an app.
func (a *apps) withdraw(ctx context.Context, name appc.Name) error {
	if a.in == nil {
		return nil
	}
	unfinished, err := a.isUnfinished(name)
	if err != nil {
		return err
	}
	if manifest.Find(a.manifest, name) == nil || unfinished {
		// The supervisor may never have heard of it.
		if err := a.call(ctx, entrypoint.AnnotationAppRm, name); err != nil {
			a.trace("app %s: %v", name, err)
		}
		return ctx.Err()
	}
	if err := a.stop(ctx, name); err != nil && !errors.Is(err, errAppNotRunning) {
		return a.unlessEnded(err)
	}
	return a.unlessEnded(a.call(ctx, entrypoint.AnnotationAppRm, name))
}

// unlessEnded drops the failure of an operation inside a pod that has ended:
// with the pod, everything inside is gone.
func (a *apps) unlessEnded(err error) error {
	if err != nil && a.pod.Refresh() == nil && a.pod.State() != pod.Running {
		return nil
	}
	return err
}

// erase removes everything of an app that is not in use any more, known to the
// pod or not. It can be interrupted anywhere and done again: what tells where
// the rest is goes last.
func (a *apps) erase(name appc.Name) error {
	steps := []struct {
		failpoint string
		do        func(appc.Name) error
	}{
		{"app-rm.unmounted", a.unmount},
		{"app-rm.volumes-removed", a.removeVolumes},
		{"app-rm.manifest-written", a.dropFromManifest},
		{"app-rm.state-removed", a.removeState},
		{"app-rm.tree-removed", a.removeTree},
		{"app-rm.info-removed", a.removeInfo},
	}
	for _, s := range steps {
		err := s.do(name)
		if err == nil {
			err = failpoint.Hit(s.failpoint)
		}
		if err != nil {
			return fmt.Errorf("remove app %q: %w", name, err)
		}
	}
	return nil
}

func (a *apps) unmount(name appc.Name) error {
	if a.in == nil {
		return nil
	}
	return a.unlessEnded(a.in.clear(name.String()))
}

// removeVolumes removes the directories of empty volumes that only this app has.
func (a *apps) removeVolumes(name appc.Name) error {
	ra := manifest.Find(a.manifest, name)
	if ra == nil {
		return nil
	}
	kept := map[appc.Name]bool{}
	for _, v := range a.manifest.Volumes {
		kept[v.Name] = true
	}
	for i := range a.manifest.Apps {
		if other := &a.manifest.Apps[i]; other.Name != name {
			for _, v := range a.emptyVolumes(other) {
				kept[v] = true
			}
		}
	}
	for _, v := range a.emptyVolumes(ra) {
		if kept[v] {
			continue
		}
		if err := deltree.Remove(a.path(filepath.Join(poddir.SharedVolumes, v.String()))); err != nil {
			return err
		}
	}
	return nil
}

// emptyVolumes are the volumes of an app that are directories of the pod.
func (a *apps) emptyVolumes(ra *appc.RuntimeApp) []appc.Name {
	q := appmount.Request{App: ra.Name, Mounts: ra.Mounts, Volumes: a.manifest.Volumes}
	if ra.App != nil {
		q.MountPoints = ra.App.MountPoints
	}
	plan, err := appmount.New(q)
	if err != nil {
		return nil // it was refused when the app was added
	}
	var out []appc.Name
	for _, m := range plan.Mounts {
		if _, err := appc.NewName(m.Volume.String()); m.Kind == appmount.Empty && err == nil {
			out = append(out, m.Volume)
		}
	}
	return out
}

func (a *apps) dropFromManifest(name appc.Name) error {
	if manifest.Find(a.manifest, name) == nil {
		return nil
	}
	return a.write(manifest.Without(a.manifest, name))
}

func (a *apps) removeState(name appc.Name) error {
	for _, rel := range poddir.AppState(name.String()) {
		if err := a.stage1.Remove(rel); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes the tree of the app, or its place and its layer. A copy is
// removed from outside, where its volumes are empty directories; the kernel takes
// away what is mounted on them inside the pod (rmdir(2), since Linux 3.18).
func (a *apps) removeTree(name appc.Name) error {
	if err := a.stage1.Remove(poddir.AppDir(name.String())); err != nil {
		return err
	}
	id, err := a.pod.AppTreeID(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a copy, or it did not get that far
	}
	if err != nil {
		return err
	}
	if stage1, err := a.pod.Stage1TreeID(); err != nil || stage1 == id { // what lies there is stage1's
		return err
	}
	for _, leaf := range []string{poddir.OverlayUpper(id, name.String()), poddir.OverlayWork(id, name.String())} {
		if err := deltree.Remove(a.path(leaf)); err != nil {
			return err
		}
	}
	// Other apps may have the same image.
	for _, dir := range []string{poddir.OverlayUpper(id, ""), poddir.OverlayWork(id, ""), filepath.Join(poddir.Overlay, id)} {
		_ = unix.Rmdir(a.path(dir))
	}
	return nil
}

func (a *apps) removeInfo(name appc.Name) error {
	for _, rel := range []string{poddir.AppHost(name.String()), poddir.AppProcess(name.String())} {
		if err := deltree.Remove(a.path(rel)); err != nil {
			return err
		}
	}
	if err := deltree.Remove(a.path(poddir.AppInfoDir(name.String()))); err != nil {
		return err
	}
	err := atomicfile.SyncDir(a.path(poddir.AppsInfo))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
