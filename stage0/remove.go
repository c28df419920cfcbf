// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// removeAttempts bounds how often Remove looks again at a pod that others move.
const removeAttempts = 10

// Remove deletes a pod at once, with all it has, ignoring grace periods
// (command rm). A pod that somebody else deletes meanwhile counts as removed.
func Remove(ctx context.Context, p *pod.Pod, c CollectConfig) error {
	for attempt := range removeAttempts {
		if err := p.Refresh(); err != nil {
			return err
		}
		if attempt < removeAttempts-1 && seemsRunning(p) {
			if err := pause(ctx); err != nil {
				return err
			}
			continue
		}
		err := c.claim(ctx, p)
		switch {
		case errors.Is(err, pod.ErrMoved), isLocked(err):
			continue // look at what it is now
		case err != nil:
			return err
		case p.State() == pod.Gone:
			return nil
		}
		d := &deleter{CollectConfig: &c}
		defer d.close()
		if err := d.delete(ctx, p); err != nil {
			return err
		}
		return syncRemoval(p.DataDir(), poddir.ExitedGarbage, poddir.Garbage)
	}
	return fmt.Errorf("pod %q is busy", p.UUID())
}

// seemsRunning tells whether a pod counts as running though its process is
// gone: whoever collects garbage holds the lock of an exited pod while moving it.
func seemsRunning(p *pod.Pod) bool {
	if p.State() != pod.Running {
		return false
	}
	pid, err := p.PID()
	return err == nil && pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// pause is how long another process may take to move a pod.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// claim locks a pod and moves it to the garbage, if its state allows.
func (c *CollectConfig) claim(ctx context.Context, p *pod.Pod) error {
	switch p.State() {
	case pod.Gone:
		return nil
	case pod.Running:
		return hint.With(fmt.Errorf("pod %q is currently running", p.UUID()), "stop it first with \"rkt stop %s\"", p.UUID())
	case pod.Embryo, pod.Preparing:
		return fmt.Errorf("pod %q is currently being prepared", p.UUID())
	case pod.Deleting:
		return fmt.Errorf("pod %q is currently being deleted", p.UUID())
	case pod.ExitedDeleting:
		return p.WaitLock(ctx)
	}
	if err := p.TryLock(ctx); err != nil {
		return err
	}
	switch p.Dir() {
	case poddir.Prepare:
		c.say("moving failed prepare %q to garbage", p.UUID())
	case poddir.Prepared:
		c.say("moving expired prepared pod %q to garbage", p.UUID())
	}
	return p.ToGarbage(ctx, false)
}
