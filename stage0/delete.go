// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/deltree"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
	"github.com/rkt/rkt/v2/stage0/internal/unmount"
)

// CollectConfig is what deleting a pod needs.
type CollectConfig struct {
	Env
	LocalConfig string // passed to stage1's gc program

	// Deregister removes a pod from the metadata service.
	Deregister func(context.Context, *pod.Pod) error
}

// deleter deletes pods, one after the other. It has a mount namespace in which
// stage1's gc programs run, made when first needed.
type deleter struct {
	*CollectConfig
	thread *privns.Thread
}

func (d *deleter) close() {
	if d.thread != nil {
		d.thread.Close()
	}
}

// delete removes a pod that is locked and in one of the garbage directories
// (spec pods.md 8.3). Each step tolerates that its object is gone already.
func (d *deleter) delete(ctx context.Context, p *pod.Pod) error {
	switch p.Dir() {
	case poddir.ExitedGarbage:
		d.leave(ctx, p)
	case poddir.Garbage:
	default:
		return fmt.Errorf("non-garbage pod %q (status %q), skipped", p.UUID(), p.State())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := unmount.All(p.Path(), func(s string) { d.say("%s", s) }); err != nil {
		return fmt.Errorf("GC of leftover mounts for pod %q failed: %w", p.UUID(), err)
	}
	if err := failpoint.Hit("rm.unmounted"); err != nil {
		return err
	}
	first := d.stage1Tree(p)
	path, err := d.release(p)
	if err != nil {
		return fmt.Errorf("unable to remove pod %q: %w", p.UUID(), err)
	}
	return removeReleased(path, first, p.UUID().String())
}

// leave lets everybody outside forget the pod: the metadata service and stage1.
func (d *deleter) leave(ctx context.Context, p *pod.Pod) {
	if _, err := os.Lstat(filepath.Join(p.Path(), poddir.MDSRegistered)); err == nil {
		if d.Deregister == nil {
			d.say("warning: could not unregister pod with metadata service")
		} else if err := d.Deregister(ctx, p); err != nil {
			d.say("warning: could not unregister pod with metadata service: %v", err)
		}
	}
	d.stage1GC(ctx, p)
	if err := d.unpinNetNS(p); err != nil {
		d.say("%v", err)
	}
}

// stage1Tree is the part of the pod that is removed first: as long as the rest
// is there an interrupted deletion can be repeated in full.
func (d *deleter) stage1Tree(p *pod.Pod) string {
	rel, err := p.ReadableStage1()
	if err != nil {
		return poddir.Stage1Rootfs
	}
	return rel
}

// trashPrefix begins the names of pods that are being deleted, in DATA/tmp.
const trashPrefix = "deleted-"

// release renames the pod out of the state directories, so that its UUID is
// free at once and no half-deleted pod is ever listed. The lock goes with it.
// Where that is not possible the pod is deleted in place.
func (d *deleter) release(p *pod.Pod) (string, error) {
	tmp := filepath.Join(p.DataDir(), poddir.Tmp)
	if err := os.Mkdir(tmp, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return p.Path(), nil
	}
	path := filepath.Join(tmp, trashPrefix+p.UUID().String())
	if err := p.Release(path); err != nil {
		d.trace("deleting pod %s in place: %v", p.UUID(), err)
		return p.Path(), nil
	}
	return path, failpoint.Hit("rm.released")
}

// removeReleased deletes a pod directory, the subtree first before the rest.
func removeReleased(path, first, uuid string) error {
	if err := removeBelow(path, first); err != nil {
		return fmt.Errorf("unable to remove pod rootfs %q: %w", uuid, err)
	}
	if err := failpoint.Hit("rm.stage1-removed"); err != nil {
		return err
	}
	if err := deltree.Remove(path); err != nil {
		return fmt.Errorf("unable to remove pod %q: %w", uuid, err)
	}
	return failpoint.Hit("rm.removed")
}

// removeBelow deletes rel below path, reached without following links.
func removeBelow(path, rel string) error {
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	parent, err := root.Open(filepath.Dir(rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return nil //nolint:nilerr // not the directory that stage0 made: the rest is deleted as a whole
	}
	defer func() { _ = parent.Close() }()
	return deltree.RemoveAt(int(parent.Fd()), filepath.Base(rel))
}

// syncRemoval makes deletions and moves durable, once for any number of pods.
func syncRemoval(dataDir string, dirs ...string) error {
	if err := pod.SyncDirs(dataDir, dirs...); err != nil {
		return err
	}
	err := atomicfile.SyncDir(filepath.Join(dataDir, poddir.Tmp))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
