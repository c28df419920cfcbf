// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// want is one limit with the controller it needs.
type want struct {
	controller string
	name       string // of the isolator
	origin     isolator.Origin
	set        func(*cgroup.Limits)
}

// wants lists the limits of a plan.
func wants(p *isolator.Plan) []want {
	var all []want
	add := func(controller, name string, o isolator.Origin, set func(*cgroup.Limits)) {
		all = append(all, want{controller, name, o, set})
	}
	if m := p.Memory; m != nil && (m.Limit != 0 || m.Request != 0) {
		add(cgroup.Memory, isolator.Memory, m.Origin, func(l *cgroup.Limits) { l.Memory, l.MemoryLow = m.Limit, m.Request })
	}
	if c := p.CPU; c != nil && (c.Limit != 0 || c.Request != 0) {
		add(cgroup.CPU, isolator.CPU, c.Origin, func(l *cgroup.Limits) { l.CPU, l.CPURequest = c.Limit, c.Request })
	}
	if s := p.CPUShares; s != nil {
		add(cgroup.CPU, isolator.CPUShares, s.Origin, func(l *cgroup.Limits) { l.CPUShares = s.Value })
	}
	if n := p.Pids; n != nil && n.Limit != 0 {
		add(cgroup.Pids, isolator.Pids, n.Origin, func(l *cgroup.Limits) { l.Pids = n.Limit })
	}
	if w := p.IOWeight; w != nil {
		add(cgroup.IO, isolator.IOWeight, w.Origin, func(l *cgroup.Limits) { l.IOWeight = w.Value })
	}
	return all
}

// makeCgroup makes the cgroup of the pod and notes it for stop and gc.
func (p *pod) makeCgroup() error {
	host, err := cgroup.Detect()
	if err != nil {
		return err
	}
	o := cgroup.PodOptions{Need: p.controllers(), Mates: []int{p.guard.PID()}, NewScope: p.newScope()}
	if p.cgroup, err = host.MakePod(p.call.UUID.Scope(), o, recordCgroups); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.cgroup-made"); err != nil {
		return err
	}
	if p.users.count != 0 {
		if err := p.cgroup.GivePayload(int(p.users.shift)); err != nil {
			return err
		}
	}
	if err := atomicfile.WriteNoSync(poddir.Subcgroup, []byte(p.cgroup.Relative()), 0o644); err != nil {
		return err
	}
	p.warmCgroups()
	return failpoint.Hit("stage1.cgroup")
}

// restoreCgroup lets others start in the cgroup that rkt was started in.
func (p *pod) restoreCgroup() {
	if p.cgroup == nil {
		return
	}
	if err := p.cgroup.Restore(); err != nil {
		say("warning: %v", err)
	}
}

// controllers are those that limits of the pod need, now or with apps to come.
func (p *pod) controllers() []string {
	if p.call.Mutable {
		return []string{cgroup.Memory, cgroup.CPU, cgroup.Pids, cgroup.IO}
	}
	all := wants(p.plan.Limits)
	for _, name := range p.order {
		all = append(all, wants(p.apps[name].plan.Limits)...)
	}
	var need []string
	for _, w := range all {
		need = append(need, w.controller)
	}
	return need
}

// warmCgroups keeps the lock warm that moves of processes take (cgroup.Pod.Warm)
// until the first app is being started: so a thread that has nothing else to do
// waits, while the pod is put together, and systemd-nspawn, systemd and the
// app's process, which all move, need not.
func (p *pod) warmCgroups() {
	const (
		pace  = 8 * time.Millisecond // within an RCU grace period
		times = 20                   // a slow start is not made fast by this
	)
	p.warm = make(chan struct{})
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends
		start := time.Now()
		_ = p.cgroup.Warm() // refused or not, the lock has been taken
		if time.Since(start) < time.Millisecond {
			return // others keep it warm: many pods are being started
		}
		for range times {
			select {
			case <-p.warm:
				return
			case <-time.After(pace):
				_ = p.cgroup.Warm()
			}
		}
	}()
}

// limit holds the pod and its apps to what they may use. On v2 the apps' own
// limits are settings of their units.
func (p *pod) limit() error {
	whole, err := p.possible(wants(p.plan.Limits), "the pod")
	if err != nil {
		return err
	}
	set := p.cgroup.SetV1
	if p.cgroup.Whole() {
		set = p.cgroup.SetUnified
	}
	if err := set(whole); err != nil {
		return fmt.Errorf("limits of the pod: %w", err)
	}
	for _, name := range p.order {
		if err := p.limitApp(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) limitApp(name string) error {
	a := p.apps[name]
	for _, item := range a.plan.Limits.Other {
		say("warning: app %q: %s isolator set but no flavor enforces it, skipping", name, item.Name)
	}
	l, err := p.possible(wants(a.plan.Limits), fmt.Sprintf("app %q", name))
	if err != nil {
		return err
	}
	if p.cgroup.Whole() {
		a.limits = l
		return nil
	}
	a.v1, err = p.cgroup.MakeApp(name, l)
	var missing *cgroup.NoControllerError
	if errors.As(err, &missing) && p.fromImage(a.plan.Limits, missing.Controller) {
		// The controller is there, but not this part of it.
		say("warning: app %q: the host cannot apply a limit of the image, skipping: %v", name, err)
		all := slices.DeleteFunc(wants(a.plan.Limits), func(w want) bool { return w.controller == missing.Controller })
		if l, err = p.possible(all, name); err == nil {
			a.v1, err = p.cgroup.MakeApp(name, l)
		}
	}
	if err != nil {
		return fmt.Errorf("limits of app %q: %w", name, err)
	}
	return nil
}

// fromImage tells whether nobody but the image asks for limits of a controller.
func (p *pod) fromImage(l *isolator.Plan, controller string) bool {
	return !slices.ContainsFunc(wants(l), func(w want) bool {
		return w.controller == controller && w.origin == isolator.FromUser
	})
}

// possible joins the limits that the host can enforce. One that it cannot is an
// error if a person has asked for it, and a warning if only the image has.
func (p *pod) possible(all []want, who string) (cgroup.Limits, error) {
	var l cgroup.Limits
	for _, w := range all {
		var one cgroup.Limits
		w.set(&one)
		err := p.cgroup.Check(w.controller, one)
		switch {
		case err == nil:
			w.set(&l)
		case w.origin == isolator.FromUser:
			return l, fmt.Errorf("cannot apply the isolator %s of %s: %w", w.name, who, err)
		case errors.Unwrap(err) != nil:
			say("warning: %s isolator set but this host cannot apply it, skipping: %v", w.name, err)
		default:
			say("warning: %s isolator set but support disabled in the kernel, skipping", w.name)
		}
	}
	return l, nil
}

// recordCgroups notes the directories for gc before they are made. The
// supervisor and commands that add apps know of different ones, so what is noted
// already stays.
func recordCgroups(paths []string) error {
	lock, err := os.Open(poddir.Supervisor)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", poddir.Supervisor, err)
	}
	all, err := recordedCgroups()
	if err != nil {
		return err
	}
	for _, p := range paths {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return atomicfile.WriteNoSync(poddir.Cgroups, []byte(strings.Join(all, "\n")+"\n"), 0o644)
}

// recordedCgroups are the directories that recordCgroups noted, if any.
func recordedCgroups() ([]string, error) {
	data, err := os.ReadFile(poddir.Cgroups)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}
