// SPDX-License-Identifier: Apache-2.0

// Package appops holds the entrypoints that work on single apps of a running
// pod: app/add, app/start, app/stop, app/rm and attach. rkt calls them on the
// host, in the pod directory, with the process ID of the pod's systemd in the
// environment (spec stage1.md 8.5); they reach the pod through that process.
package appops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/stage1/internal/inside"
	"github.com/rkt/rkt/v2/stage1/internal/supervise"
	"github.com/rkt/rkt/v2/stage1/internal/units"
)

// StatusError ends an entrypoint with this exit status.
type StatusError int

func (e StatusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// operation is one call on a running pod.
type operation struct {
	call entrypoint.App
	vars entrypoint.CrossingVars
	pod  *supervise.Running
	bus  *supervise.Bus
}

func open(argv []string) (*operation, error) {
	o := &operation{}
	var err error
	if err := inside.Seal(argv, os.Environ()); err != nil {
		return nil, err
	}
	if o.call, err = entrypoint.ParseApp(argv); err != nil {
		return nil, err
	}
	if o.vars, err = entrypoint.ParseCrossingVars(os.Getenv); err != nil {
		return nil, err
	}
	if o.pod, err = supervise.OpenRunning(o.call, o.vars.EnterPID); err != nil {
		return nil, err
	}
	o.bus, err = supervise.DialBus(o.vars.EnterPID)
	return o, err
}

func (o *operation) unit() string { return units.Service(o.call.App) }

// Add makes an app startable. If it fails, nothing of it is left.
func Add(argv []string) error {
	o, err := open(argv)
	if err != nil {
		return err
	}
	defer o.bus.Close()
	err = o.add()
	if err == nil {
		return nil
	}
	return errors.Join(err, o.pod.Remove(o.call.App), o.bus.Reload(context.Background()))
}

func (o *operation) add() error {
	if err := o.pod.Add(o.call.App); err != nil {
		return err
	}
	if err := o.pod.WriteHost(o.call.App); err != nil {
		return err
	}
	if err := o.bus.Reload(context.Background()); err != nil {
		return fmt.Errorf("let the pod's systemd read the unit of the app: %w", err)
	}
	return failpoint.Hit("app-add.loaded")
}

// Remove takes an app that does not run out of the pod.
func Remove(argv []string) error {
	o, err := open(argv)
	if err != nil {
		return err
	}
	defer o.bus.Close()
	ctx := context.Background()
	u, err := o.bus.Unit(ctx, o.unit())
	if err == nil && !u.Done() {
		return fmt.Errorf("app %q is still running", o.call.App)
	}
	if err := o.bus.ResetFailed(ctx, o.unit()); err != nil && !errors.Is(err, supervise.ErrNoUnit) {
		return err
	}
	if err := failpoint.Hit("app-rm.reset"); err != nil {
		return err
	}
	if err := o.pod.Remove(o.call.App); err != nil {
		return err
	}
	if err := failpoint.Hit("app-rm.withdrawn"); err != nil {
		return err
	}
	if err := o.bus.Reload(ctx); err != nil {
		return err
	}
	return failpoint.Hit("app-rm.unloaded")
}

// startPatience is how long an app may take to be started: its volumes are
// mounted, but its handlers may work.
const startPatience = 90 * time.Second

// Start starts an app, again if it has ended.
func Start(argv []string) error {
	o, err := open(argv)
	if err != nil {
		return err
	}
	defer o.bus.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	before, err := o.bus.Unit(ctx, o.unit())
	if err != nil {
		return err
	}
	if !before.Done() {
		return fmt.Errorf("app %q is running already", o.call.App)
	}
	if err := o.bus.ResetFailed(ctx, o.unit()); err != nil && !errors.Is(err, supervise.ErrNoUnit) {
		return err
	}
	if err := failpoint.Hit("app-start.reset"); err != nil {
		return err
	}
	if err := o.bus.Start(ctx, o.unit()); err != nil {
		return fmt.Errorf("start app %q: %w", o.call.App, err)
	}
	if err := failpoint.Hit("app-start.asked"); err != nil {
		return err
	}
	_, err = o.bus.Wait(ctx, o.unit(), func(u supervise.UnitState) bool {
		return u.Active == "active" || u.Done() && u.PID != 0 && u.PID != before.PID
	})
	return err
}

// Stop stops an app and returns when it has ended.
func Stop(argv []string) error {
	o, err := open(argv)
	if err != nil {
		return err
	}
	defer o.bus.Close()
	ctx := context.Background()
	u, err := o.bus.Unit(ctx, o.unit())
	if err != nil {
		return err
	}
	if u.Done() {
		return StatusError(entrypoint.StatusNoUnit)
	}
	if err := o.bus.Stop(ctx, o.unit()); err != nil {
		if errors.Is(err, supervise.ErrNoUnit) {
			return StatusError(entrypoint.StatusNoUnit)
		}
		return fmt.Errorf("stop app %q: %w", o.call.App, err)
	}
	if err := failpoint.Hit("app-stop.asked"); err != nil {
		return err
	}
	_, err = o.bus.Wait(ctx, o.unit(), supervise.UnitState.Done)
	return err
}
