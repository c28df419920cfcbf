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
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/overlay"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/manifest"
)

// App is an app as the command line describes it.
type App = manifest.App

// ErrNoApps is returned for a pod without apps.
var ErrNoApps = manifest.ErrNoApps

// PrepareConfig says what pod to make.
type PrepareConfig struct {
	Env
	Version string       // of rkt
	Stage1  appc.ImageID // resolved
	Apps    []App        // resolved images, in order

	// PodManifest is the content of a manifest file, used unchanged instead of Apps.
	PodManifest []byte

	Volumes    []appc.Volume
	Mounts     []appc.Mount // of all apps
	Ports      []appc.ExposedPort
	InheritEnv []string         // os.Environ() with --inherit-env, else nil
	SetEnvFile appc.Environment // --set-env-file
	SetEnv     appc.Environment // --set-env
	Isolators  appc.Isolators   // of the whole pod

	Mutable         bool // a pod without apps, to which apps are added later
	Annotations     appc.Annotations
	UserAnnotations map[string]string
	UserLabels      map[string]string

	NoOverlay    bool
	PrivateUsers bool
	UUIDFileSave string // file that gets the UUID as soon as the pod exists

	// RunNow says that the caller runs the pod at once. Then nothing waits for
	// the disk: power loss ends the pod, and what is left of it, whatever that
	// is, is for gc to remove.
	RunNow bool
}

// Prepare makes a pod. It returns the pod in the state Preparing, locked and,
// without RunNow, with all its files durable: the caller calls Run, or
// Pod.ToPrepared and Close.
// On failure the pod is left as an aborted prepare.
func Prepare(ctx context.Context, c PrepareConfig) (*pod.Pod, error) {
	plan, err := c.plan()
	if err != nil {
		return nil, err
	}
	locks := filepath.Join(c.DataDir, poddir.Locks)
	if err := os.MkdirAll(locks, 0o750); err != nil {
		return nil, fmt.Errorf("create lock directory: %w", err)
	}
	// Keeps "image gc" from removing trees between their rendering and the
	// moment the pod's files name them.
	prepareLock, err := lock.Key(ctx, locks, poddir.PrepareLock, lock.Shared)
	if err != nil {
		return nil, fmt.Errorf("take prepare lock: %w", err)
	}
	defer func() { _ = prepareLock.Close() }()
	p, err := pod.Create(ctx, c.DataDir)
	if err != nil {
		return nil, err
	}
	pr := &preparation{PrepareConfig: &c, plan: plan, pod: p, dir: p.Path()}
	if err := pr.run(ctx); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// plan is all that can be known before the pod exists.
type plan struct {
	stage1   *appc.ImageManifest
	images   []manifest.Image
	names    []appc.Name // of the apps
	manifest *appc.PodManifest
	raw      []byte // the pod manifest as it will be stored
	overlay  bool
}

func (c *PrepareConfig) plan() (*plan, error) {
	pl := &plan{}
	var err error
	if pl.stage1, err = c.Images.Manifest(c.Stage1); err != nil {
		return nil, fmt.Errorf("manifest of stage1 image %s: %w", c.Stage1.Key(), err)
	}
	if _, err := entrypoint.Lookup(pl.stage1, entrypoint.AnnotationRun); err != nil {
		return nil, fmt.Errorf("stage1 image %s: %w", c.Stage1.Key(), err)
	}
	if c.Mutable {
		if err := entrypoint.CheckMutable(pl.stage1); err != nil {
			return nil, err
		}
	}
	if c.PodManifest != nil {
		if pl.manifest, err = appc.ParsePodManifest(c.PodManifest); err != nil {
			return nil, fmt.Errorf("invalid pod manifest: %w", err)
		}
		if err := manifest.CheckApps(pl.manifest); err != nil {
			return nil, err
		}
	} else if len(c.Apps) == 0 && !c.Mutable {
		return nil, ErrNoApps
	}
	if err := pl.findImages(c); err != nil {
		return nil, err
	}
	pl.overlay, err = c.useOverlay(pl.stage1)
	return pl, err
}

func (pl *plan) findImages(c *PrepareConfig) error {
	var ids []appc.ImageID
	for _, a := range c.Apps {
		ids = append(ids, a.Image)
	}
	if pl.manifest != nil {
		ids = nil
		for _, a := range pl.manifest.Apps {
			id, err := c.Images.Resolve(a.Image.ID.String())
			if err != nil {
				return fmt.Errorf("image of app %q: %w", a.Name, err)
			}
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		m, err := c.Images.Manifest(id)
		if err != nil {
			return fmt.Errorf("manifest of image %s: %w", id, err)
		}
		pl.images = append(pl.images, manifest.Image{ID: id, Manifest: m})
	}
	return nil
}

// useOverlay decides, once for the life of the pod.
func (c *PrepareConfig) useOverlay(stage1 *appc.ImageManifest) (bool, error) {
	if c.NoOverlay {
		return false, nil
	}
	err := overlay.Supported(c.DataDir)
	var unsupported *overlay.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		c.say("disabling overlay support: %q", unsupported.Reason)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("error determining overlay support: %w", err)
	case c.PrivateUsers:
		if err := checkMapped(c.DataDir, stage1); err != nil {
			return false, err
		}
	}
	return true, nil
}

// podManifest generates the pod manifest or checks the given one.
func (pl *plan) podManifest(c *PrepareConfig) error {
	if pl.manifest != nil {
		pl.raw = c.PodManifest
		return manifest.Check(pl.manifest, pl.images)
	}
	m, err := manifest.Generate(manifest.Config{
		Version:         c.Version,
		UID:             unix.Getuid(),
		GID:             unix.Getgid(),
		Volumes:         c.Volumes,
		Mounts:          c.Mounts,
		Ports:           c.Ports,
		InheritEnv:      c.InheritEnv,
		SetEnvFile:      c.SetEnvFile,
		SetEnv:          c.SetEnv,
		Isolators:       c.Isolators,
		Mutable:         c.Mutable,
		Annotations:     c.Annotations,
		UserAnnotations: c.UserAnnotations,
		UserLabels:      c.UserLabels,
	}, c.Apps, pl.images)
	if err != nil {
		return err
	}
	pl.manifest = m
	pl.raw, err = m.Marshal()
	return err
}
