// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// want is one limit with the controller it needs.
type want struct {
	controller string
	name       string // of the isolator
	origin     isolator.Origin
	set        func(*cgroup.Limits)
}

// askedError says that this host cannot apply what the user has asked for.
type askedError struct {
	isolator string
	err      error
}

func (e *askedError) Error() string {
	return fmt.Sprintf("cannot apply the isolator %s: %v", e.isolator, e.err)
}

func (e *askedError) Unwrap() error { return e.err }

// wants lists the limits of the pod. The pod and its only app share a cgroup,
// so the tighter limit counts.
func (p *pod) wants() []want {
	var all []want
	if m := tighter(p.limits.Memory, p.whole.Memory); m != nil {
		all = append(all, want{cgroup.Memory, isolator.Memory, m.Origin, func(l *cgroup.Limits) { l.Memory, l.MemoryLow = m.Limit, m.Request }})
	}
	if c := tighter(p.limits.CPU, p.whole.CPU); c != nil {
		all = append(all, want{cgroup.CPU, isolator.CPU, c.Origin, func(l *cgroup.Limits) { l.CPU, l.CPURequest = c.Limit, c.Request }})
	}
	if n := tighter(p.limits.Pids, p.whole.Pids); n != nil {
		all = append(all, want{cgroup.Pids, isolator.Pids, n.Origin, func(l *cgroup.Limits) { l.Pids = n.Limit }})
	}
	if s := p.limits.CPUShares; s != nil {
		all = append(all, want{cgroup.CPU, isolator.CPUShares, s.Origin, func(l *cgroup.Limits) { l.CPUShares = s.Value }})
	}
	if w := p.limits.IOWeight; w != nil {
		all = append(all, want{cgroup.IO, isolator.IOWeight, w.Origin, func(l *cgroup.Limits) { l.IOWeight = w.Value }})
	}
	return all
}

func tighter(app, pod *isolator.Resource) *isolator.Resource {
	switch {
	case app == nil:
		return pod
	case pod == nil, pod.Limit == 0, app.Limit != 0 && app.Limit <= pod.Limit:
		return app
	}
	both := *app
	both.Limit, both.Origin = pod.Limit, pod.Origin
	both.Request = min(both.Request, both.Limit)
	return &both
}

// limit makes the cgroup of the pod if there is a limit to set, and returns
// its directories. The process does not join yet: what it still needs is not
// the app's to pay for.
//
// What the host cannot apply is an error if the user has asked for it; if
// only the image has, one line says so and the app starts without.
func (p *pod) limit(id poddir.UUID) ([]string, error) {
	all := p.wants()
	if len(all) == 0 {
		return nil, nil
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	var images, users []want
	for _, w := range all {
		switch {
		case host.Has(w.controller) && w.origin == isolator.FromUser:
			users = append(users, w)
		case host.Has(w.controller):
			images = append(images, w)
		case w.origin == isolator.FromUser:
			return nil, &askedError{w.name, &cgroup.NoControllerError{Controller: w.controller}}
		default:
			say(fmt.Sprintf("warning: %s isolator set but support disabled in the kernel, skipping", w.name))
		}
	}
	paths, err := makeGroup(host, id, append(slices.Clone(users), images...))
	var asked *askedError
	if err == nil || len(images) == 0 || errors.As(err, &asked) {
		return paths, err
	}
	// A control group file system that is read-only, or that has no room, say.
	for _, w := range images {
		say(fmt.Sprintf("warning: %s isolator set but this host cannot apply it, skipping: %v", w.name, err))
	}
	if err := removeGroup(id); err != nil {
		return nil, err
	}
	return makeGroup(host, id, users)
}

// makeGroup makes the cgroup with these limits; none of them, no cgroup.
func makeGroup(host *cgroup.Host, id poddir.UUID, all []want) ([]string, error) {
	var limits cgroup.Limits
	for _, w := range all {
		w.set(&limits)
	}
	need := limits.Controllers()
	if len(need) == 0 {
		return nil, nil
	}
	group, err := host.Make(id.Scope(), need, recordCgroups)
	if err != nil {
		return nil, err
	}
	if limits, err = applicable(group, all); err != nil {
		return nil, err
	}
	if err := group.Set(limits); err != nil {
		return nil, err
	}
	return group.Paths(), atomicfile.WriteNoSync(poddir.Subcgroup, []byte(group.Relative()), 0o644)
}

// applicable leaves out what the kernel turns out not to have in a controller
// that it has.
func applicable(group *cgroup.Group, all []want) (limits cgroup.Limits, err error) {
	for _, w := range all {
		var one cgroup.Limits
		w.set(&one)
		err := group.Check(w.controller, one)
		switch {
		case err == nil:
			w.set(&limits)
		case w.origin == isolator.FromUser:
			return limits, &askedError{w.name, err}
		default:
			say(fmt.Sprintf("warning: %s isolator set but support disabled in the kernel, skipping", w.name))
		}
	}
	return limits, nil
}

// removeGroup removes what makeGroup has made before it failed. Nobody is in
// there, this process included unless it was alone in its cgroup.
func removeGroup(id poddir.UUID) error {
	paths, err := recordedCgroups()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cgroupPatience)
	defer cancel()
	return cgroup.Remove(ctx, paths, id.Scope())
}

// adjustOOMScore sets the OOM score of this process, which becomes the app.
// Lowering it takes CAP_SYS_RESOURCE, which rkt may lack in a container.
func (p *pod) adjustOOMScore() (*int64, error) {
	o := p.limits.OOMScoreAdj
	if o == nil {
		return nil, nil
	}
	err := confine.AdjustOOMScore(o.Value)
	switch {
	case err == nil:
		return &o.Value, nil
	case o.Origin == isolator.FromImage:
		say(fmt.Sprintf("warning: %s isolator set but this host cannot apply it, skipping: %v", isolator.OOMScoreAdj, err))
		return nil, nil
	}
	return nil, &askedError{isolator.OOMScoreAdj, err}
}

// setRlimits changes the caller's resource limits, by number of the resource, to
// what the isolators ask for. Only the user may go above the caller's own hard
// limit, and that takes CAP_SYS_RESOURCE.
func (p *pod) setRlimits(limits []profile.Rlimit) error {
	for _, r := range p.limits.Rlimits {
		if r.Resource >= len(limits) {
			return fmt.Errorf("isolator %s: no resource %s", isolator.Rlimits, r.Name)
		}
		own := limits[r.Resource]
		switch {
		case r.Hard <= own.Max:
		case r.Origin == isolator.FromImage:
			say(fmt.Sprintf("warning: %s isolator: %s is above the hard limit of rkt itself, which stays", isolator.Rlimits, r.Name))
			r.Soft, r.Hard = min(r.Soft, own.Max), own.Max
		default:
			// Raising it already now changes nothing for this process.
			if err := unix.Prlimit(0, r.Resource, &unix.Rlimit{Cur: own.Cur, Max: r.Hard}, nil); err != nil {
				return &askedError{isolator.Rlimits, fmt.Errorf("%s: %w: it is above the hard limit of rkt itself", r.Name, err)}
			}
		}
		limits[r.Resource] = profile.Rlimit{Cur: r.Soft, Max: r.Hard}
	}
	return nil
}

// recordCgroups notes the directories for gc before they are made.
func recordCgroups(paths []string) error {
	return atomicfile.WriteNoSync(poddir.Cgroups, []byte(strings.Join(paths, "\n")+"\n"), 0o644)
}

// recordedCgroups are the directories that recordCgroups noted, if any.
func recordedCgroups() ([]string, error) {
	data, err := os.ReadFile(poddir.Cgroups)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}
