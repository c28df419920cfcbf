// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/deltree"
)

// collectEmbryos removes directories of processes that died between making a
// pod directory and beginning its preparation, which takes milliseconds.
func (g *collector) collectEmbryos(ctx context.Context) error {
	return pod.Walk(ctx, g.DataDir, []string{poddir.Embryo}, g.remark, func(p *pod.Pod) error {
		made, err := p.Changed()
		if err != nil || !made.Add(g.GracePeriod).Before(g.Now()) {
			return ctx.Err()
		}
		err = p.TryLock(ctx)
		if err == nil {
			err = deltree.Remove(p.Path())
		}
		if err == nil {
			err = failpoint.Hit("gc.embryo-removed")
		}
		if err != nil && !isElsewhere(err) {
			g.say("cannot remove embryo %q: %v", p.UUID(), err)
		}
		return ctx.Err()
	})
}

// collectTrash removes from DATA/tmp what a killed deleter has left, at once,
// and whatever else is there and nobody holds, after the grace period.
func (g *collector) collectTrash(ctx context.Context) error {
	tmp := filepath.Join(g.DataDir, poddir.Tmp)
	entries, err := os.ReadDir(tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.collectEntry(filepath.Join(tmp, e.Name()), e); err != nil && !isLocked(err) {
			g.say("cannot remove %s: %v", filepath.Join(tmp, e.Name()), err)
		}
	}
	return nil
}

func (g *collector) collectEntry(path string, e fs.DirEntry) error {
	if !strings.HasPrefix(e.Name(), trashPrefix) && !g.isOld(e) {
		return nil
	}
	if e.IsDir() {
		l, err := lock.TryTake(path, lock.Exclusive)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
	}
	if err := deltree.Remove(path); err != nil {
		return err
	}
	return failpoint.Hit("gc.trash-removed")
}

func (g *collector) isOld(e fs.DirEntry) bool {
	fi, err := e.Info()
	return err == nil && fi.ModTime().Add(g.GracePeriod).Before(g.Now())
}
