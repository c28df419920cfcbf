// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// ControlFileNames are the files of cgroups that show the limits of an app.
func ControlFileNames() []string {
	var all []string
	for _, k := range limitKinds() {
		all = append(all, k.files...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// limitKind is one kind of limit.
type limitKind struct {
	name, unit, isolator, controller string
	files                            []string // of both versions
	of                               func(*isolator.Plan) *isolator.Resource
	// podToo: a pod as a whole can have one.
	podToo bool
}

func limitKinds() []limitKind {
	whole := func(i *isolator.Int) *isolator.Resource {
		if i == nil {
			return nil
		}
		return &isolator.Resource{Limit: i.Value, Origin: i.Origin}
	}
	return []limitKind{
		{
			"memory", "bytes", isolator.Memory, cgroup.Memory,
			[]string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max", "memory.low"},
			func(p *isolator.Plan) *isolator.Resource { return p.Memory }, true,
		},
		{
			"cpu", "thousandths of a core", isolator.CPU, cgroup.CPU,
			[]string{"cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"},
			func(p *isolator.Plan) *isolator.Resource { return p.CPU }, true,
		},
		{
			"cpu-shares", "shares", isolator.CPUShares, cgroup.CPU,
			[]string{"cpu.shares", "cpu.weight"},
			func(p *isolator.Plan) *isolator.Resource { return whole(p.CPUShares) }, false,
		},
		{
			"pids", "processes and threads", isolator.Pids, cgroup.Pids,
			[]string{"pids.max"},
			func(p *isolator.Plan) *isolator.Resource { return p.Pids }, true,
		},
		{
			"io-weight", "weight", isolator.IOWeight, cgroup.IO,
			[]string{"io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight"},
			func(p *isolator.Plan) *isolator.Resource { return whole(p.IOWeight) }, false,
		},
	}
}

// limits lists the limits of a plan; in is the app, nil for the pod.
func (b *builder) limits(who string, p *isolator.Plan, in *AppInput) []Limit {
	all := []Limit{}
	for _, k := range limitKinds() {
		if in == nil && !k.podToo {
			continue
		}
		l := Limit{Name: k.name, Unit: k.unit, Origin: FromDefault, By: b.controller(k.controller)}
		r := k.of(p)
		if in != nil && b.flavor.shared {
			r = tighter(r, k.of(b.plan.Limits))
		}
		if r != nil && (r.Limit != 0 || r.Request != 0) {
			l.Origin = isolatorOrigin(r.Origin)
			l.Limit, l.Request = positive(r.Limit), positive(r.Request)
			b.cannot(who, k, &l)
		}
		if in != nil && in.Process != nil {
			l.Files = controlFiles(in.Process.Files, k.files)
		}
		all = append(all, l)
	}
	if in != nil {
		for _, item := range p.Other {
			b.warn("%s: nothing enforces the isolator %s of the image: it is skipped", who, item.Name)
		}
	}
	return all
}

// controller says what enforces limits of a controller.
func (b *builder) controller(name string) string {
	if v := b.in.Host.Controllers[name]; v != 0 {
		return fmt.Sprintf("cgroup v%d", v)
	}
	return ""
}

// cannot says what happens to a limit that the host cannot enforce.
func (b *builder) cannot(who string, k limitKind, l *Limit) {
	switch {
	case l.By != "":
	case l.Origin == FromUser:
		l.Missing = MissingRefused
		b.refuse("%s: the host has no %s cgroup controller for the isolator %s", who, k.controller, k.isolator)
	default:
		l.Missing = MissingSkipped
		b.warn("%s: the host has no %s cgroup controller: the isolator %s of the image is skipped", who, k.controller, k.isolator)
	}
}

func positive(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// tighter is the limit that counts where pod and app share a cgroup.
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

func controlFiles(files []ControlFile, want []string) (out []ControlFile) {
	for _, f := range files {
		if slices.Contains(want, path.Base(f.Path)) {
			out = append(out, f)
		}
	}
	return out
}

// rlimits lists the limits of each process: the record's, or those of the
// caller with what was asked for in their place.
func (x *appBuilder) rlimits() {
	base := x.in.Host.Rlimits
	if x.in.Subject == OfPod {
		base = nil
	}
	recorded := x.known.Record != nil && len(x.known.Record.Rlimits) > 0
	if recorded {
		base = x.known.Record.Rlimits
	}
	x.out.Rlimits = []Rlimit{}
	for n, name := range rlimitNames {
		i := slices.IndexFunc(x.a.Limits.Rlimits, func(r isolator.Rlimit) bool { return r.Resource == n })
		r := Rlimit{Name: name, Origin: FromCaller}
		switch {
		case i < 0 && n >= len(base):
			continue // nobody knows
		case i < 0:
			r.set(base[n])
		default:
			asked := x.a.Limits.Rlimits[i]
			r.Origin = isolatorOrigin(asked.Origin)
			r.set(profile.Rlimit{Cur: asked.Soft, Max: asked.Hard})
			x.clamp(&r, base, n, recorded)
		}
		x.out.Rlimits = append(x.out.Rlimits, r)
	}
}

func (r *Rlimit) set(l profile.Rlimit) {
	r.Soft, r.Hard = appc.RlimitValue(l.Cur), appc.RlimitValue(l.Max)
}

// clamp: what was recorded counts. No image gets more than the hard limit of
// rkt's caller, and a person only if rkt may raise that.
func (x *appBuilder) clamp(r *Rlimit, base []profile.Rlimit, n int, recorded bool) {
	if n >= len(base) {
		return
	}
	own := base[n]
	asked := profile.Rlimit{Cur: uint64(r.Soft), Max: uint64(r.Hard)}
	got := asked
	switch {
	case recorded:
		got = own
	case asked.Max <= own.Max:
	case r.Origin == FromImage:
		got = profile.Rlimit{Cur: min(asked.Cur, own.Max), Max: own.Max}
	case x.in.Host.Bounding != nil && !x.in.Host.Bounding.Has(unix.CAP_SYS_RESOURCE):
		x.refuse("app %q: rlimit %s: %s is above the hard limit of rkt itself, %s", x.out.Name, r.Name, rlimitText(asked), rlimitWord(own.Max))
	}
	if got != asked {
		r.set(got)
		r.Detail = "asked for: " + rlimitText(asked)
	}
}

func rlimitText(l profile.Rlimit) string { return rlimitWord(l.Cur) + ":" + rlimitWord(l.Max) }

func rlimitWord(n uint64) string {
	if n == isolator.Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
