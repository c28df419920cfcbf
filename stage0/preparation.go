// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/manifest"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
	"github.com/rkt/rkt/v2/store/treestore"
)

// preparation fills the directory of a pod in the state Preparing, in the
// order of spec pods.md 6.1.
type preparation struct {
	*PrepareConfig
	*plan
	pod   *pod.Pod
	dir   string
	users userRange
	syncs errgroup.Group // flushes of files, under way
}

func (pr *preparation) run(ctx context.Context) error {
	if pr.UUIDFileSave != "" {
		if err := saveUUID(pr.UUIDFileSave, pr.pod.UUID()); err != nil {
			return err
		}
		if err := failpoint.Hit("prepare.uuid-saved"); err != nil {
			return err
		}
	}
	steps := []func(context.Context) error{pr.userNamespace, pr.stage1, pr.apps, pr.writeManifest}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			_ = pr.syncs.Wait()
			return fmt.Errorf("error setting up stage0: %w", err)
		}
	}
	if err := pr.flush(); err != nil {
		return fmt.Errorf("flush pod %s: %w", pr.pod.UUID(), err)
	}
	return failpoint.Hit("prepare.flushed")
}

// saveUUID writes the file of --uuid-file-save: no trailing newline, and an
// existing file (or what it links to) is overwritten.
func saveUUID(path string, uuid poddir.UUID) error {
	if err := os.WriteFile(path, []byte(uuid), 0o644); err != nil {
		return fmt.Errorf("error saving pod UUID to file: %w", err)
	}
	return nil
}

func (pr *preparation) userNamespace(ctx context.Context) error {
	if !pr.PrivateUsers {
		return nil
	}
	var err error
	pr.users, err = allocateUsers(ctx, pr.pod)
	return err
}

func (pr *preparation) stage1(ctx context.Context) error {
	pr.trace("Preparing stage1")
	for _, dir := range []string{poddir.AppsInfo, poddir.Stage1, poddir.Stage1Rootfs} {
		if err := os.Mkdir(filepath.Join(pr.dir, dir), 0o750); err != nil {
			return err
		}
	}
	tree, err := pr.Trees.Render(ctx, pr.Stage1.Key())
	if err != nil {
		return fmt.Errorf("error preparing stage1: %w", err)
	}
	pr.trace("Writing image manifest")
	raw, err := pr.plan.stage1.Marshal()
	if err != nil {
		return fmt.Errorf("stage1 manifest: %w", err)
	}
	if err := pr.write(poddir.Stage1Manifest, raw); err != nil {
		return err
	}
	if pr.overlay {
		err = pr.checkOwners(ctx, tree)
	} else {
		err = pr.copyTree(ctx, tree, poddir.Stage1Rootfs)
	}
	if err != nil {
		return fmt.Errorf("place stage1: %w", err)
	}
	if err := pr.write(poddir.Stage1TreeStoreID, []byte(tree.ID)); err != nil {
		return err
	}
	return failpoint.Hit("prepare.stage1-placed")
}

func (pr *preparation) copyTree(ctx context.Context, t treestore.Tree, rel string) error {
	return pr.Trees.CopyTo(ctx, t, filepath.Join(pr.dir, rel), pr.users.shift, pr.users.count)
}

// checkOwners refuses a tree with owners that a pod with a user namespace does
// not have. Copying one finds them by itself.
func (pr *preparation) checkOwners(ctx context.Context, t treestore.Tree) error {
	if !pr.PrivateUsers {
		return nil
	}
	return pr.Trees.CheckOwners(ctx, t, pr.users.count)
}

func (pr *preparation) apps(ctx context.Context) error {
	names, err := pr.appNames()
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := pr.app(ctx, name, pr.images[i]); err != nil {
			return err
		}
		if err := failpoint.Hit("prepare.app-placed"); err != nil {
			return err
		}
	}
	return nil
}

// appNames makes sure that no two apps share a directory.
func (pr *preparation) appNames() ([]appc.Name, error) {
	if pr.manifest != nil {
		for _, a := range pr.manifest.Apps { // checked to be unique
			pr.names = append(pr.names, a.Name)
		}
		return pr.names, nil
	}
	seen := map[appc.Name]bool{}
	for i, a := range pr.Apps {
		name, err := manifest.AppName(a.Name, pr.images[i].Manifest.Name)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, hint.With(fmt.Errorf("error: multiple apps with name %s", name), "give one of them another name with --name")
		}
		seen[name] = true
		pr.names = append(pr.names, name)
	}
	return pr.names, nil
}

func (pr *preparation) app(ctx context.Context, name appc.Name, img manifest.Image) error {
	pr.trace("Loading image %s", img.ID.Key())
	if err := manifest.CheckLabels(img.Manifest.Labels); err != nil {
		return fmt.Errorf("image %s: %w", img.ID.Key(), err)
	}
	raw, err := img.Manifest.Marshal()
	if err != nil {
		return fmt.Errorf("manifest of image %s: %w", img.ID.Key(), err)
	}
	if err := os.Mkdir(filepath.Join(pr.dir, poddir.AppsInfo, name.String()), 0o750); err != nil {
		return err
	}
	tree, err := pr.Trees.Render(ctx, img.ID.Key())
	if err != nil {
		return fmt.Errorf("error rendering image %s: %w", img.ID.Key(), err)
	}
	if pr.overlay {
		if err := pr.checkOwners(ctx, tree); err != nil {
			return fmt.Errorf("image of app %q: %w", name, err)
		}
		err = pr.write(poddir.AppInfoTreeStoreID(name.String()), []byte(tree.ID))
	} else {
		err = pr.copyApp(ctx, name, raw, tree)
	}
	if err != nil {
		return err
	}
	return pr.write(poddir.AppInfoManifest(name.String()), raw)
}

func (pr *preparation) copyApp(ctx context.Context, name appc.Name, raw []byte, tree treestore.Tree) error {
	s1, err := rootfs.OpenStage1(filepath.Join(pr.dir, poddir.Stage1Rootfs), pr.users.shift)
	if err != nil {
		return err
	}
	defer func() { _ = s1.Close() }()
	if _, err := s1.PlaceApp(name.String(), raw); err != nil {
		return err
	}
	rel := filepath.Join(poddir.Stage1Rootfs, poddir.AppRootfs(name.String()))
	if err := pr.copyTree(ctx, tree, rel); err != nil {
		return fmt.Errorf("copy image of app %q: %w", name, err)
	}
	return nil
}

func (pr *preparation) writeManifest(context.Context) error {
	pr.trace("Writing pod manifest")
	if err := pr.podManifest(pr.PrepareConfig); err != nil {
		return err
	}
	if err := pr.writeMode(poddir.ManifestLock, nil, 0o600); err != nil {
		return err
	}
	if err := pr.write(poddir.PodManifest, pr.raw); err != nil {
		return err
	}
	if err := pr.write(poddir.Created, nil); err != nil {
		return err
	}
	if !pr.overlay {
		return nil
	}
	return pr.writeMode(poddir.OverlayPrepared, nil, 0o644)
}

func (pr *preparation) write(rel string, data []byte) error { return pr.writeMode(rel, data, 0o640) }

// writeMode writes a file of the pod. Nobody looks at a pod that is being
// prepared, so a plain write does; flush waits for it to be durable.
func (pr *preparation) writeMode(rel string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(filepath.Join(pr.dir, rel), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if len(data) == 0 || !pr.overlay || pr.RunNow { // see flush
		return f.Close()
	}
	pr.syncs.Go(func() error { return errors.Join(f.Sync(), f.Close()) })
	return nil
}
