// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/store/treestore"
)

// GCConfig says what to collect.
type GCConfig struct {
	CollectConfig
	GracePeriod    time.Duration // of exited pods, since they were marked
	ExpirePrepared time.Duration // of prepared pods that nobody started
	MarkOnly       bool
	Now            func() time.Time // nil: time.Now
}

// GC collects pods (spec pods.md 8.1): it marks exited pods and aborted
// preparations, throws away expired prepared ones, and deletes what is marked
// long enough. Problems with single pods are reported and the next one is
// tried; it fails only if a state directory cannot be read. Pods that another
// process holds are skipped, so any number of GCs may run at once.
func GC(ctx context.Context, c GCConfig) error {
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &collector{GCConfig: c}
	g.Trees = &treeCache{TreeStore: c.Trees, trees: map[string]treestore.Tree{}}
	if err := g.mark(ctx); err != nil || c.MarkOnly {
		return err
	}
	if err := g.expire(ctx); err != nil {
		return err
	}
	uuids, err := g.due(ctx)
	if err != nil {
		return err
	}
	g.deleteAll(ctx, uuids)
	if err := g.collectEmbryos(ctx); err != nil {
		return err
	}
	if err := g.collectTrash(ctx); err != nil {
		return err
	}
	g.sweepNetworks(ctx)
	return ctx.Err()
}

type collector struct {
	GCConfig
	stdoutMu sync.Mutex
}

// mark moves exited pods to exited-garbage and aborted preparations to garbage.
func (g *collector) mark(ctx context.Context) error {
	n, err := g.discard(ctx, poddir.Run, "moving pod %q to garbage", func(p *pod.Pod) (bool, error) {
		return p.State() == pod.Exited, nil
	})
	if err != nil {
		return err
	}
	m, err := g.discard(ctx, poddir.Prepare, "moving failed prepare %q to garbage", func(p *pod.Pod) (bool, error) {
		return p.State() == pod.AbortedPrepare, nil
	})
	if err != nil || n+m == 0 {
		return err
	}
	return pod.SyncDirs(g.DataDir, poddir.ExitedGarbage, poddir.Garbage, poddir.Run, poddir.Prepare)
}

// expire moves prepared pods that are too old to garbage.
func (g *collector) expire(ctx context.Context) error {
	n, err := g.discard(ctx, poddir.Prepared, "moving expired prepared pod %q to garbage", func(p *pod.Pod) (bool, error) {
		prepared, err := p.Changed()
		return prepared.Add(g.ExpirePrepared).Before(g.Now()), err
	})
	if err != nil || n == 0 {
		return err
	}
	return pod.SyncDirs(g.DataDir, poddir.Garbage, poddir.Prepared)
}

// discard moves the pods of one state directory that are due to the garbage
// and returns how many it moved.
func (g *collector) discard(ctx context.Context, dir, message string, due func(*pod.Pod) (bool, error)) (int, error) {
	moved := 0
	err := pod.Walk(ctx, g.DataDir, []string{dir}, g.remark, func(p *pod.Pod) error {
		ok, err := due(p)
		if err == nil && ok {
			if err = p.TryLock(ctx); err == nil {
				g.say(message, p.UUID())
				if err = p.ToGarbage(ctx, false); err == nil {
					moved++
				}
			}
		}
		if err != nil && !isElsewhere(err) {
			g.say("cannot move pod %q to garbage: %v", p.UUID(), err)
		}
		return ctx.Err()
	})
	return moved, err
}

// isElsewhere tells whether another process has the pod in hand.
func isElsewhere(err error) bool { return errors.Is(err, pod.ErrMoved) || isLocked(err) }

func (g *collector) remark(s string) { g.say("%s", s) }

// due lists the pods to delete.
func (g *collector) due(ctx context.Context) ([]poddir.UUID, error) {
	var uuids []poddir.UUID
	err := pod.Walk(ctx, g.DataDir, []string{poddir.ExitedGarbage}, g.remark, func(p *pod.Pod) error {
		marked, err := p.Marked()
		switch {
		case err != nil:
			g.say("pod %q: %v", p.UUID(), err)
		case !marked.Add(g.GracePeriod).Before(g.Now()):
			g.say("pod %q not removed: still within grace period (%v)", p.UUID(), g.GracePeriod)
		default:
			uuids = append(uuids, p.UUID())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = pod.Walk(ctx, g.DataDir, []string{poddir.Garbage}, g.remark, func(p *pod.Pod) error {
		uuids = append(uuids, p.UUID())
		return nil
	})
	return uuids, err
}

// deleteAll deletes pods, two for each CPU at a time: half of them wait for
// stage1's gc program.
func (g *collector) deleteAll(ctx context.Context, uuids []poddir.UUID) {
	if len(uuids) == 0 {
		return
	}
	jobs := make(chan poddir.UUID)
	var wg sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), len(uuids)) {
		wg.Go(func() {
			d := &deleter{CollectConfig: &g.CollectConfig}
			defer d.close()
			for uuid := range jobs {
				if err := g.deleteOne(ctx, d, uuid); err != nil {
					g.say("%v", err)
				}
			}
		})
	}
	for _, uuid := range uuids {
		if ctx.Err() != nil {
			break
		}
		jobs <- uuid
	}
	close(jobs)
	wg.Wait()
	if err := syncRemoval(g.DataDir, poddir.ExitedGarbage, poddir.Garbage); err != nil {
		g.say("%v", err)
	}
}

func (g *collector) deleteOne(ctx context.Context, d *deleter, uuid poddir.UUID) error {
	p, err := pod.Open(ctx, g.DataDir, uuid)
	if errors.Is(err, pod.ErrNotPresent) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	err = p.TryLock(ctx)
	if isElsewhere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	g.announce(uuid)
	if err := d.delete(ctx, p); err != nil {
		return err
	}
	return failpoint.Hit("gc.deleted")
}

func (g *collector) announce(uuid poddir.UUID) {
	g.stdoutMu.Lock()
	defer g.stdoutMu.Unlock()
	_, _ = fmt.Fprintf(g.stdout(), "Garbage collecting pod %q\n", uuid)
}

// treeCache remembers trees: a thousand pods share one stage1.
type treeCache struct {
	TreeStore
	mu    sync.Mutex
	trees map[string]treestore.Tree
}

func (c *treeCache) Get(ctx context.Context, id string) (treestore.Tree, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.trees[id]; ok {
		return t, nil
	}
	t, err := c.TreeStore.Get(ctx, id)
	if err == nil {
		c.trees[id] = t
	}
	return t, err
}
