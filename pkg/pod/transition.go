// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// ErrMoved says that the pod is not any more where it was seen: somebody else
// has moved or deleted it.
var ErrMoved = errors.New("pod was moved by somebody else")

// Somebody who looks at the state holds a shared lock for an instant, so an
// exclusive attempt that must not skip the pod is repeated for a little while.
const (
	lockAttempts = 10
	lockPause    = 2 * time.Millisecond
)

// createAttempts is how often Create starts over with another UUID when a gc
// without grace period collected the fresh directory before it was locked.
const createAttempts = 3

// Create makes a new pod directory under a new UUID and brings it to the state
// Preparing: the caller holds the exclusive lock until Close.
func Create(ctx context.Context, dataDir string) (*Pod, error) {
	if err := EnsureDirs(dataDir); err != nil {
		return nil, err
	}
	for i := 1; ; i++ {
		p, err := create(ctx, dataDir, poddir.NewUUID())
		lost := errors.Is(err, lock.ErrLocked) || errors.Is(err, ErrMoved) || errors.Is(err, fs.ErrNotExist)
		if !lost || i == createAttempts {
			return p, err
		}
	}
}

func create(ctx context.Context, dataDir string, uuid poddir.UUID) (*Pod, error) {
	p := &Pod{uuid: uuid, dataDir: dataDir, dir: poddir.Embryo, state: Embryo}
	path := p.Path()
	if err := os.Mkdir(path, 0o750); err != nil {
		return nil, fmt.Errorf("create pod: %w", err)
	}
	if err := failpoint.Hit("prepare.embryo-created"); err != nil {
		return nil, err
	}
	var err error
	if p.lock, err = openDir(path); err != nil {
		return nil, fmt.Errorf("open new pod: %w", err)
	}
	if err := p.begin(ctx); err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("begin preparation of pod %s: %w", uuid, err)
	}
	return p, nil
}

func (p *Pod) begin(ctx context.Context) error {
	if err := p.TryLock(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit("prepare.embryo-locked"); err != nil {
		return err
	}
	// Not flushed: after power loss it does not matter whether an unfinished
	// pod is in embryo, in prepare or nowhere; gc collects all of these.
	if err := p.move(poddir.Prepare, false); err != nil {
		return err
	}
	return failpoint.Hit("prepare.preparing")
}

// TryLock takes the exclusive lock without waiting (beyond the instant that a
// reader of the state takes) and checks that the pod is still where it was
// seen. Errors are lock.ErrLocked if another process holds the pod, and ErrMoved.
func (p *Pod) TryLock(ctx context.Context) error {
	if p.held {
		return nil
	}
	for i := 0; ; i++ {
		err := p.lock.Try(lock.Exclusive)
		if err == nil {
			return p.confirm()
		}
		if !errors.Is(err, lock.ErrLocked) || i == lockAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// WaitLock takes the exclusive lock, waiting until ctx is done for whoever
// holds it, and then does as TryLock.
func (p *Pod) WaitLock(ctx context.Context) error {
	if p.held {
		return nil
	}
	if err := p.lock.Wait(ctx, lock.Exclusive); err != nil {
		return err
	}
	return p.confirm()
}

// confirm checks under the lock that the pod did not move before we had it.
func (p *Pod) confirm() error {
	p.held = true
	was := p.dir
	if err := p.Refresh(); err != nil {
		p.unlock()
		return err
	}
	if p.dir != was {
		p.unlock()
		return fmt.Errorf("pod %s: %w", p.uuid, ErrMoved)
	}
	return nil
}

// unlock gives the exclusive lock back; the pod stays open.
func (p *Pod) unlock() {
	p.held = false
	_ = p.lock.Unlock()
	_ = p.derive()
}

// Unlock releases the exclusive lock and keeps the pod open.
func (p *Pod) Unlock() error {
	if !p.held {
		return nil
	}
	p.held = false
	if err := p.lock.Unlock(); err != nil {
		return fmt.Errorf("unlock pod %s: %w", p.uuid, err)
	}
	return p.derive()
}

// ToPrepared ends a preparation that is durable on disk, and releases the lock.
func (p *Pod) ToPrepared() error {
	if err := p.move(poddir.Prepared, true); err != nil {
		return fmt.Errorf("cannot transition to prepared: %w", err)
	}
	if err := failpoint.Hit("prepare.prepared"); err != nil {
		return err
	}
	return p.Unlock()
}

// ToRunning starts a pod that is being prepared by this process, or a prepared
// one, whose lock it takes. It keeps the lock. Whoever loses a race for a
// prepared pod gets an error that is lock.ErrLocked or ErrMoved.
func (p *Pod) ToRunning(ctx context.Context) error {
	prepared := p.dir == poddir.Prepared
	if prepared {
		if err := p.TryLock(ctx); err != nil {
			return fmt.Errorf("cannot transition to run: %w", err)
		}
	}
	// A prepared pod must not be there to be run again after power loss.
	if err := p.move(poddir.Run, prepared); err != nil {
		return fmt.Errorf("cannot transition to run: %w", err)
	}
	return failpoint.Hit("run.running")
}

// ToGarbage throws a pod away: an exited one to exited-garbage, one that never
// ran to garbage. It takes the lock if this process does not hold it and keeps
// it. Both directories are flushed if sync is set; who moves many pods calls
// SyncDirs once instead. Throwing away a pod twice is harmless.
func (p *Pod) ToGarbage(ctx context.Context, sync bool) error {
	if err := p.TryLock(ctx); err != nil {
		return err
	}
	switch p.dir {
	case poddir.ExitedGarbage, poddir.Garbage:
		return nil
	case poddir.Run:
		if err := p.move(poddir.ExitedGarbage, sync); err != nil {
			return err
		}
	default:
		if err := p.move(poddir.Garbage, sync); err != nil {
			return err
		}
	}
	return failpoint.Hit("gc.marked")
}

// move renames the pod directory into another state directory.
func (p *Pod) move(to string, sync bool) error {
	if !p.held {
		return fmt.Errorf("move pod %s to %s: lock not held", p.uuid, to)
	}
	from := p.dir
	if !slices.Contains(nextDirs(from), to) {
		return fmt.Errorf("pod %s cannot move from %q to %q", p.uuid, from, to)
	}
	if err := unix.Rename(p.pathIn(from), p.pathIn(to)); err != nil {
		return fmt.Errorf("move pod %s from %s to %s: %w", p.uuid, from, to, err)
	}
	p.dir = to
	p.state = stateOf(to, true)
	if !sync {
		return nil
	}
	return SyncDirs(p.dataDir, to, from)
}

// SyncDirs flushes state directories, so that moves survive power loss.
func SyncDirs(dataDir string, dirs ...string) error {
	for _, dir := range dirs {
		if err := atomicfile.SyncDir(filepath.Join(dataDir, poddir.Pods, dir)); err != nil {
			return err
		}
	}
	return nil
}

// Release takes the pod directory out of the state directories: it is renamed
// to path, which must be on the same file system. Its UUID is unknown from
// then on. The lock stays held, now on the renamed directory.
func (p *Pod) Release(path string) error {
	if !p.held || (p.dir != poddir.ExitedGarbage && p.dir != poddir.Garbage) {
		return fmt.Errorf("non-garbage pod %q (status %q), skipped", p.uuid, p.state)
	}
	if err := unix.Rename(p.Path(), path); err != nil {
		return &os.LinkError{Op: "rename", Old: p.Path(), New: path, Err: err}
	}
	p.dir, p.state = "", Gone
	return nil
}
