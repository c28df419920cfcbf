// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/treestore"
)

type imageGCOptions struct {
	gracePeriod time.Duration
}

func newImageGC(d *Deps) *cobra.Command {
	var o imageGCOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Garbage collect local store",
		Long:  "Removes trees that no pod refers to, images that were not used for longer than the grace period, and what broken downloads left.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runImageGC(cmd.Context(), d, o) },
	}
	cmd.Flags().DurationVar(&o.gracePeriod, "grace-period", defaultImageGracePeriod, "duration to wait since an image was last used before removing it")
	return cmd
}

func runImageGC(ctx context.Context, d *Deps, o imageGCOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	trees, err := d.Trees(ctx)
	if err != nil {
		return err
	}
	dir, err := d.DataDir()
	if err != nil {
		return err
	}
	inUse, err := collectTrees(ctx, d, trees, dir)
	if err != nil {
		return fmt.Errorf("failed to remove unreferenced treestores: %w", err)
	}
	stage1s, err := runningStage1s(ctx, d, dir)
	if err != nil {
		return err
	}
	images, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("unable to get the image list: %w", err)
	}
	var old []namedImage
	for i := range images {
		in := &images[i]
		if in.Name == "" {
			continue // its record cannot be read: that is for fsck
		}
		if d.Now().Sub(in.LastUsed) > o.gracePeriod && !isUsed(in.ID, inUse.Images) && !stage1s[treestore.ID(string(in.ID))] {
			old = append(old, namedImage{imageTitle(in), in.ID})
		}
	}
	if err := removeImages(ctx, d, store, old); err != nil {
		return err
	}
	_, err = store.GC(ctx, imagestore.GCOptions{Grace: o.gracePeriod, Now: d.Now()})
	return err
}

// collectTrees removes the trees that no pod refers to. The prepare lock keeps
// pods from being prepared meanwhile.
func collectTrees(ctx context.Context, d *Deps, trees *treestore.Store, dir string) (*pod.InUse, error) {
	l, err := d.lockTrees(ctx, lock.Exclusive)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	inUse, err := pod.FindInUse(ctx, dir, d.printError)
	if err != nil {
		return nil, err
	}
	removed := func(id string) { d.errorf("removed treestore %q", id) }
	return inUse, trees.GC(ctx, inUse.Trees, removed)
}

// isUsed compares an image with IDs from pod manifests, which may be
// abbreviated.
func isUsed(id appc.ImageID, used map[appc.ImageID]bool) bool {
	for u := range used {
		if id.HasPrefix(u.Key()) {
			return true
		}
	}
	return false
}

// runningStage1s are the tree IDs of the stage1 images of running pods.
func runningStage1s(ctx context.Context, d *Deps, dir string) (map[string]bool, error) {
	ids := map[string]bool{}
	remark := func(s string) { d.errorf("%s", s) }
	err := pod.Walk(ctx, dir, []string{poddir.Run}, remark, func(p *pod.Pod) error {
		if p.State() != pod.Running {
			return nil
		}
		id, err := p.Stage1TreeID()
		if err != nil {
			return fmt.Errorf("cannot get stage1 treestoreID for pod %s: %w", p.UUID(), err)
		}
		ids[id] = true
		return nil
	})
	return ids, err
}
