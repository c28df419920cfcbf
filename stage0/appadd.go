// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/manifest"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
	"github.com/rkt/rkt/v2/store/treestore"
)

// AddAppConfig says what app to add to a mutable pod.
type AddAppConfig struct {
	Env
	App    App // its Args replace those of the image
	Mounts []appc.Mount
}

// AddApp adds an app to a running mutable pod. It is not started. On failure
// the pod is as it was. Whoever is killed meanwhile leaves an app that is
// "unfinished": it cannot be started, and another AddApp, or RemoveApp, takes
// away what there is of it.
func AddApp(ctx context.Context, p *pod.Pod, c AddAppConfig) error {
	if err := checkRunning(p); err != nil {
		return err
	}
	add, err := c.plan(p)
	if err != nil {
		return err
	}
	// As for Prepare. It is also why the tree can be rendered, which may take
	// its time, before the pod is locked.
	prepareLock, err := lock.Key(ctx, filepath.Join(c.DataDir, poddir.Locks), poddir.PrepareLock, lock.Shared)
	if err != nil {
		return fmt.Errorf("take prepare lock: %w", err)
	}
	defer func() { _ = prepareLock.Close() }()
	c.trace("Loading image %s", add.image.ID.Key())
	if add.tree, err = c.Trees.Render(ctx, add.image.ID.Key()); err != nil {
		return fmt.Errorf("error rendering image %s: %w", add.image.ID.Key(), err)
	}
	a, err := c.lockApps(ctx, p)
	if err != nil {
		return err
	}
	defer a.close()
	if a.in == nil {
		return fmt.Errorf("pod %q isn't currently running", p.UUID())
	}
	add.apps = a
	return add.run(ctx)
}

// addition is an app on its way into a pod.
type addition struct {
	*AddAppConfig
	apps  *apps
	name  appc.Name
	image manifest.Image
	raw   []byte // image manifest
	tree  treestore.Tree

	app      *appc.RuntimeApp  // as it will be in the pod manifest
	manifest *appc.PodManifest // with the app
}

// plan is all that can be known without the lock of the pod.
func (c *AddAppConfig) plan(p *pod.Pod) (*addition, error) {
	m, err := c.Images.Manifest(c.App.Image)
	if err != nil {
		return nil, fmt.Errorf("manifest of image %s: %w", c.App.Image, err)
	}
	add := &addition{AddAppConfig: c, image: manifest.Image{ID: c.App.Image, Manifest: m}}
	if err := manifest.CheckLabels(m.Labels); err != nil {
		return nil, fmt.Errorf("image %s: %w", add.image.ID.Key(), err)
	}
	if add.raw, err = m.Marshal(); err != nil {
		return nil, fmt.Errorf("manifest of image %s: %w", add.image.ID.Key(), err)
	}
	if add.name, err = manifest.AppName(c.App.Name, m.Name); err != nil {
		return nil, err
	}
	return add, add.try(p)
}

// try says what is wrong with the app before anything is made of it. Another
// app may come in between: it is all done again under the lock.
func (add *addition) try(p *pod.Pod) error {
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	a := &apps{Env: &add.Env, pod: p, manifest: m}
	if err := a.checkFree(add.name); err != nil {
		return err
	}
	return add.extend(manifest.Without(m, add.name))
}

// extend makes the pod manifest with the app.
func (add *addition) extend(m *appc.PodManifest) error {
	app := add.App
	app.ReplaceArgs = true
	config := manifest.Config{UID: unix.Getuid(), GID: unix.Getgid(), Mounts: add.Mounts}
	var err error
	if add.manifest, err = manifest.Add(config, m, app, add.image); err != nil {
		return err
	}
	add.app = manifest.Find(add.manifest, add.name)
	return nil
}

// run adds the app: everything that may fail first, then the manifest, then the
// marker, then stage1.
func (add *addition) run(ctx context.Context) error {
	if err := add.clearPlace(ctx); err != nil {
		return err
	}
	if err := add.extend(add.apps.manifest); err != nil {
		return err
	}
	steps := []struct {
		failpoint string
		do        func(context.Context) error
	}{
		{"app-add.begun", add.begin},
		{"app-add.recorded", add.record},
		{"app-add.placed", add.place},
		{"app-add.tree-placed", add.placeTree},
		{"app-add.environment-written", add.environment},
		{"app-add.manifest-written", add.extendPod},
		{"app-add.created", add.markCreated},
		{"app-add.announced", add.announce},
		{"app-add.finished", add.finish},
	}
	for _, s := range steps {
		err := s.do(ctx)
		if err == nil {
			err = failpoint.Hit(s.failpoint)
		}
		if err != nil {
			return add.undo(ctx, fmt.Errorf("app %q: %w", add.name, err))
		}
	}
	return nil
}

// checkFree fails if there is an app of that name, unless it is unfinished.
func (a *apps) checkFree(name appc.Name) error {
	unfinished, err := a.isUnfinished(name)
	if err != nil || unfinished || manifest.Find(a.manifest, name) == nil {
		return err
	}
	return hint.With(&manifest.MultipleAppsError{Name: name}, "give it another name with --name")
}

// clearPlace takes away what a killed process has left of an app of that name.
func (add *addition) clearPlace(ctx context.Context) error {
	a := add.apps
	if err := a.checkFree(add.name); err != nil {
		return err
	}
	left, err := a.hasTraces(add.name)
	if err != nil || !left {
		return err
	}
	if err := a.withdraw(ctx, add.name); err != nil {
		return err
	}
	return a.erase(add.name)
}

// undo removes what was made of the app. Interrupted or not, it goes on to the
// end.
func (add *addition) undo(ctx context.Context, err error) error {
	ctx = context.WithoutCancel(ctx)
	failed := add.apps.withdraw(ctx, add.name)
	if failed == nil {
		failed = add.apps.erase(add.name)
	}
	if failed != nil {
		return hint.With(errors.Join(err, failed), "remove what is left with \"rkt app rm --app=%s %s\"", add.name, add.apps.pod.UUID())
	}
	return err
}

// begin makes the directory of the app and says that it is not complete.
func (add *addition) begin(context.Context) error {
	dir := add.apps.path(poddir.AppInfoDir(add.name.String()))
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	if err := add.put(poddir.AppInfoUnfinished(add.name.String()), nil); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}

func (add *addition) put(rel string, data []byte) error {
	return atomicfile.Write(add.apps.path(rel), data, 0o640)
}

func (add *addition) record(context.Context) error {
	name := add.name.String()
	if add.apps.overlay {
		if err := add.put(poddir.AppInfoTreeStoreID(name), []byte(add.tree.ID)); err != nil {
			return err
		}
	}
	return add.put(poddir.AppInfoManifest(name), add.raw)
}

func (add *addition) place(context.Context) error {
	_, err := add.apps.stage1.PlaceApp(add.name.String(), add.raw)
	return err
}

func (add *addition) placeTree(ctx context.Context) error {
	var err error
	if add.apps.overlay {
		err = add.mount(ctx)
	} else {
		err = add.copyTree(ctx)
	}
	if err != nil {
		return err
	}
	return add.apps.stage1.LinkMtab(add.name.String())
}

// mount puts the overlay of the app together where nobody sees it and moves it
// into the pod.
func (add *addition) mount(ctx context.Context) error {
	a := add.apps
	mapped, err := add.mapUsers(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = mapped.Close() }()
	target := filepath.Join(a.pod.Path(), poddir.AppInfoMount(add.name.String()))
	if err := os.Mkdir(target, 0o700); err != nil {
		return err
	}
	o := rootfs.Overlay{
		PodDir: a.pod.Path(),
		TreeID: add.tree.ID,
		App:    add.name.String(),
		Lowers: add.tree.Lowers,
		Target: target,
		GID:    add.group(),
		Users:  mapped,
	}
	var mount *os.File
	err = privns.Do(func() (err error) { mount, err = o.Detach(); return err })
	if err != nil {
		return err
	}
	defer func() { _ = mount.Close() }()
	if err := a.in.attach(a.stage1, add.name.String(), mount); err != nil {
		return err
	}
	return os.Remove(target)
}

// mapUsers is what maps the layers to the user namespace of the pod, nil if it
// has none.
func (add *addition) mapUsers(ctx context.Context) (*rootfs.Users, error) {
	users := add.apps.users
	if users.count == 0 {
		return nil, nil //nolint:nilnil // nothing is mapped
	}
	if err := add.Trees.CheckOwners(ctx, add.tree, users.count); err != nil {
		return nil, fmt.Errorf("image of app %q: %w", add.name, err)
	}
	return rootfs.NewUsers(users.shift, users.count)
}

func (add *addition) copyTree(ctx context.Context) error {
	a := add.apps
	dst := filepath.Join(a.pod.Path(), poddir.Stage1Rootfs, poddir.AppRootfs(add.name.String()))
	if err := add.Trees.CopyTo(ctx, add.tree, dst, a.users.shift, a.users.count); err != nil {
		return fmt.Errorf("copy image of app %q: %w", add.name, err)
	}
	return atomicfile.SyncFS(dst)
}

// environment writes what the app's environment will be; stage1 replaces it by
// what it is once it knows the app's user.
func (add *addition) environment(context.Context) error {
	env := appenv.Compose(appenv.Runtime{
		Environment: add.app.App.Environment,
		AppName:     add.name.String(),
		User:        "root", Home: "/root", Shell: "/bin/sh",
	})
	return add.apps.stage1.WriteEnv(add.name.String(), appenv.File(appenv.List(env)))
}

func (add *addition) extendPod(context.Context) error { return add.apps.write(add.manifest) }

func (add *addition) markCreated(context.Context) error {
	return add.apps.stage1.Mark(poddir.AppCreated(add.name.String()))
}

func (add *addition) announce(ctx context.Context) error {
	return add.apps.call(ctx, entrypoint.AnnotationAppAdd, add.name)
}

func (add *addition) finish(context.Context) error {
	path := add.apps.path(poddir.AppInfoUnfinished(add.name.String()))
	if err := os.Remove(path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}
