// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"os"
	"testing"

	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func TestStates(t *testing.T) {
	tests := []struct {
		dir          string
		locked, free State
	}{
		{poddir.Embryo, Embryo, Embryo},
		{poddir.Prepare, Preparing, AbortedPrepare},
		{poddir.Prepared, Prepared, Prepared},
		{poddir.Run, Running, Exited},
		{poddir.ExitedGarbage, ExitedDeleting, ExitedGarbage},
		{poddir.Garbage, Deleting, Garbage},
	}
	for _, tt := range tests {
		t.Run(tt.dir, func(t *testing.T) {
			data := t.TempDir()
			path := makePod(t, data, tt.dir, uuidA)
			if p := mustOpen(t, data, uuidA); p.State() != tt.free {
				t.Errorf("free: %q, want %q", p.State(), tt.free)
			}
			h := startHolder(t, path)
			p := mustOpen(t, data, uuidA)
			if p.State() != tt.locked {
				t.Errorf("locked by another process: %q, want %q", p.State(), tt.locked)
			}
			if tt.dir != poddir.Embryo && tt.dir != poddir.Prepared {
				wantErr(t, p.TryLock(context.Background()), lock.ErrLocked)
			}
			h.release()
			if err := p.Refresh(); err != nil || p.State() != tt.free {
				t.Errorf("after its end: %q, %v; want %q", p.State(), err, tt.free)
			}
		})
	}
}

func TestStateGroups(t *testing.T) {
	all := []State{Embryo, Preparing, AbortedPrepare, Prepared, Running, Exited, ExitedDeleting, ExitedGarbage, Deleting, Garbage, Gone}
	groups := map[string]struct {
		has  func(State) bool
		want []State
	}{
		"finished":  {State.IsFinished, []State{AbortedPrepare, Exited, ExitedGarbage, ExitedDeleting, Garbage, Deleting, Gone}},
		"after run": {State.IsAfterRun, []State{Exited, ExitedGarbage, ExitedDeleting, Garbage, Deleting}},
		"manifest":  {State.HasManifest, []State{Prepared, Running, Exited, ExitedGarbage, ExitedDeleting, Garbage, Deleting}},
		"started":   {State.HasStarted, []State{Running, Exited, ExitedGarbage, ExitedDeleting, Garbage, Deleting}},
	}
	for name, g := range groups {
		want := map[State]bool{}
		for _, s := range g.want {
			want[s] = true
		}
		for _, s := range all {
			if g.has(s) != want[s] {
				t.Errorf("%s(%s) = %v, want %v", name, s, g.has(s), want[s])
			}
		}
	}
}

// TestMoves tries every move from every directory.
func TestMoves(t *testing.T) {
	allowed := map[[2]string]bool{
		{poddir.Embryo, poddir.Prepare}:    true,
		{poddir.Prepare, poddir.Prepared}:  true,
		{poddir.Prepare, poddir.Run}:       true,
		{poddir.Prepare, poddir.Garbage}:   true,
		{poddir.Prepared, poddir.Run}:      true,
		{poddir.Prepared, poddir.Garbage}:  true,
		{poddir.Run, poddir.ExitedGarbage}: true,
	}
	for _, from := range poddir.StateDirs() {
		for _, to := range poddir.StateDirs() {
			t.Run(from+" to "+to, func(t *testing.T) {
				data := t.TempDir()
				makePod(t, data, from, uuidA)
				p := mustOpen(t, data, uuidA)
				if err := p.move(to, true); err == nil {
					t.Fatal("moved without the lock")
				}
				if err := p.TryLock(context.Background()); err != nil {
					t.Fatal(err)
				}
				err := p.move(to, true)
				if ok := err == nil; ok != allowed[[2]string{from, to}] {
					t.Errorf("move: %v", err)
				}
				want := from
				if err == nil {
					want = to
				}
				if p.Dir() != want {
					t.Errorf("is in %q, want %q", p.Dir(), want)
				}
				if _, err := os.Stat(p.Path()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestLifeOfAPod(t *testing.T) {
	ctx := context.Background()
	data := t.TempDir()
	p, err := Create(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	want := func(s State) {
		t.Helper()
		if p.State() != s {
			t.Errorf("own view %q, want %q", p.State(), s)
		}
		if o := mustOpen(t, data, p.UUID()); o.State() != s {
			t.Errorf("others see %q, want %q", o.State(), s)
		}
	}
	want(Preparing)
	if err := p.ToPrepared(); err != nil {
		t.Fatal(err)
	}
	want(Prepared)
	if err := p.ToRunning(ctx); err != nil {
		t.Fatal(err)
	}
	want(Running)
	if err := p.Unlock(); err != nil {
		t.Fatal(err)
	}
	want(Exited)
	if err := p.ToGarbage(ctx, true); err != nil {
		t.Fatal(err)
	}
	want(ExitedDeleting)
	if err := p.ToGarbage(ctx, true); err != nil {
		t.Errorf("a second time: %v", err)
	}
	trash := data + "/trash"
	if err := p.Release(trash); err != nil {
		t.Fatal(err)
	}
	if p.State() != Gone {
		t.Errorf("released: %q", p.State())
	}
	_, err = Open(ctx, data, p.UUID())
	wantErr(t, err, ErrNotPresent)
	wantErr(t, func() error { _, err := lock.TryTake(trash, lock.Exclusive); return err }(), lock.ErrLocked)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestLosers(t *testing.T) {
	ctx := context.Background()
	data := t.TempDir()
	makePod(t, data, poddir.Prepared, uuidA)
	winner, loser, late := mustOpen(t, data, uuidA), mustOpen(t, data, uuidA), mustOpen(t, data, uuidA)
	if err := winner.ToRunning(ctx); err != nil {
		t.Fatal(err)
	}
	wantErr(t, loser.ToRunning(ctx), lock.ErrLocked)
	wantErr(t, loser.ToGarbage(ctx, true), lock.ErrLocked)
	if err := winner.Close(); err != nil {
		t.Fatal(err)
	}
	// The lock is free again, but the pod is somewhere else.
	wantErr(t, late.ToRunning(ctx), ErrMoved)
	if late.IsLocked() {
		t.Error("the loser keeps the lock")
	}
	if p := mustOpen(t, data, uuidA); p.State() != Exited {
		t.Errorf("state %q, want %q", p.State(), Exited)
	}
}

func TestReleaseRefusesLivePods(t *testing.T) {
	for _, dir := range []string{poddir.Prepare, poddir.Prepared, poddir.Run} {
		data := t.TempDir()
		makePod(t, data, dir, uuidA)
		p := mustOpen(t, data, uuidA)
		if err := p.TryLock(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := p.Release(data + "/trash"); err == nil {
			t.Errorf("%s: released", dir)
		}
	}
}

// A reader's momentary shared lock must not make a mover skip the pod.
func TestTryLockOutlastsReaders(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	reader, err := lock.TryTake(path, lock.Shared)
	if err != nil {
		t.Fatal(err)
	}
	p := mustOpen(t, data, uuidA)
	released := make(chan struct{})
	go func() {
		defer close(released)
		_ = reader.Close()
	}()
	if err := p.TryLock(context.Background()); err != nil {
		t.Error(err)
	}
	<-released
}
