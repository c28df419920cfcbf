// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/overlay"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// stage1GC runs the gc program of a pod's stage1. Its failure does not keep
// the pod from being deleted.
func (d *deleter) stage1GC(ctx context.Context, p *pod.Pod) {
	m, err := p.Stage1Manifest()
	if errors.Is(err, fs.ErrNotExist) {
		return // an earlier deletion got past this point
	}
	if err != nil {
		d.say("skipping stage1 GC of pod %q: %v", p.UUID(), err)
		return
	}
	if nothingToDo(m, p) {
		return
	}
	version, err := entrypoint.Version(m)
	if err == nil {
		var entry string
		if entry, err = entrypoint.Lookup(m, entrypoint.AnnotationGC); err == nil {
			err = d.runGC(ctx, p, entry, version)
		}
	}
	if err == nil {
		err = failpoint.Hit("rm.stage1-gc")
	}
	if err != nil {
		d.say("problem performing stage1 GC on %q: %v", p.UUID(), err)
	}
}

// nothingToDo tells whether stage1 says that its gc program need not be run
// for a pod like this: starting it is most of what deleting a pod costs.
func nothingToDo(m *appc.ImageManifest, p *pod.Pod) bool {
	files, ok := entrypoint.GCNeeds(m)
	if !ok {
		return false
	}
	return !slices.ContainsFunc(files, func(name string) bool {
		_, err := os.Lstat(filepath.Join(p.Path(), name))
		return !errors.Is(err, fs.ErrNotExist)
	})
}

func (d *deleter) runGC(ctx context.Context, p *pod.Pod, entry string, version int) error {
	roots, err := d.stage1Roots(ctx, p)
	if err != nil {
		d.say("skipping stage1 GC of pod %q: %v", p.UUID(), err)
		return nil
	}
	prog, err := findProgram(roots, entry)
	if err != nil {
		return err
	}
	if d.thread == nil {
		if d.thread, err = privns.NewThread(); err != nil {
			return err
		}
	}
	call := entrypoint.GC{Path: prog.name, Debug: d.Debug, LocalConfig: d.LocalConfig, UUID: p.UUID()}
	cmd := exec.CommandContext(ctx, prog.path)
	cmd.Args = call.Argv(version)
	cmd.Dir = p.Path()
	cmd.Stderr = d.stderr()
	return d.thread.Do(func() error { return runWithStage1(cmd, p, roots) })
}

// runWithStage1 runs a program of stage1 on a thread with a mount namespace of
// its own, in which the tree of an overlay pod's stage1 is where programs of
// stage1 expect it. It is mounted without the layer that the pod has written
// and read-only: what runs as root on the host is what the image has.
func runWithStage1(cmd *exec.Cmd, p *pod.Pod, roots []string) error {
	target := filepath.Join(p.Path(), poddir.Stage1Rootfs)
	if roots[0] != target {
		if err := mountReadOnly(roots, target); err != nil {
			return err
		}
		defer func() { _ = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) }()
	}
	return cmd.Run()
}

// mountReadOnly shows a stack of directories, top first, on target.
func mountReadOnly(lowers []string, target string) error {
	if len(lowers) > 1 {
		return overlay.Mount{Lowers: lowers, Target: target}.Do()
	}
	if err := unix.Mount(lowers[0], target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", lowers[0], target, err)
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		_ = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

// stage1Roots returns the directories, top first, that have the programs of a
// pod's stage1: those of the tree store, or the copy in a pod without overlay
// whose tree is gone.
func (e *Env) stage1Roots(ctx context.Context, p *pod.Pod) ([]string, error) {
	usesOverlay, err := p.UsesOverlay()
	if err != nil {
		return nil, err
	}
	id, err := p.Stage1TreeID()
	if err == nil {
		tree, getErr := e.Trees.Get(ctx, id)
		if getErr == nil && len(tree.Lowers) > 0 {
			return tree.Lowers, nil
		}
		err = fmt.Errorf("stage1: %w", getErr)
	}
	if usesOverlay {
		return nil, err
	}
	return []string{filepath.Join(p.Path(), poddir.Stage1Rootfs)}, nil
}
