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
	if p.cgroup, err = host.MakePod(p.call.UUID.Scope(), recordCgroups); err != nil {
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

// warmCgroups moves a thread that ends at once. The first process that changes
// its cgroup waits for all processors, 10 ms and more, and those after it in a
// short time do not: so somebody who has nothing else to do waits, while the pod
// is put together, and systemd-nspawn and systemd need not.
func (p *pod) warmCgroups() {
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends
		_ = p.cgroup.JoinThread()
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
	if err != nil || p.cgroup.Whole() {
		return err
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
		err := p.has(w.controller)
		switch {
		case err == nil:
			w.set(&l)
		case w.origin == isolator.FromUser:
			return l, fmt.Errorf("cannot apply the isolator %s of %s: %w", w.name, who, err)
		default:
			say("warning: %s isolator set but support disabled in the kernel, skipping", w.name)
		}
	}
	return l, nil
}

func (p *pod) has(controller string) error {
	ok := p.cgroup.HasUnified(controller)
	if !p.cgroup.Whole() {
		ok = p.cgroup.HasV1(controller)
	}
	if ok {
		return nil
	}
	return &cgroup.NoControllerError{Controller: controller}
}

// recordCgroups notes the directories for gc before they are made.
func recordCgroups(paths []string) error {
	return atomicfile.WriteNoSync(poddir.Cgroups, []byte(strings.Join(paths, "\n")+"\n"), 0o644)
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
