// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cgroup"
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
	if s := p.limits.CPUShares; s != nil {
		all = append(all, want{cgroup.CPU, isolator.CPUShares, s.Origin, func(l *cgroup.Limits) { l.CPUShares = s.Value }})
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
func (p *pod) limit(id poddir.UUID) ([]string, error) {
	all := p.wants()
	if len(all) == 0 {
		return nil, nil
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	var limits cgroup.Limits
	for _, w := range all {
		if host.Has(w.controller) {
			w.set(&limits)
			continue
		}
		if w.origin == isolator.FromUser {
			return nil, fmt.Errorf("cannot apply the isolator %s: %w", w.name, &cgroup.NoControllerError{Controller: w.controller})
		}
		say(fmt.Sprintf("warning: %s isolator set but support disabled in the kernel, skipping", w.name))
	}
	need := limits.Controllers()
	if len(need) == 0 {
		return nil, nil
	}
	group, err := host.Make(id.Scope(), need, recordCgroups)
	if err != nil {
		return nil, err
	}
	if err := group.Set(limits); err != nil {
		return nil, err
	}
	return group.Paths(), atomicfile.WriteNoSync(poddir.Subcgroup, []byte(group.Relative()), 0o644)
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
