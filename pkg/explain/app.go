// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// streamNames are those of descriptors 0 to 2.
var streamNames = [...]string{"stdin", "stdout", "stderr"}

// appBuilder makes the part of one app.
type appBuilder struct {
	*builder
	a     *podplan.App
	known AppInput
	out   *App

	bounding *caps.Set       // nil: as with who starts the app
	filter   *seccomp.Policy // nil: none
	uid      *int
}

func (b *builder) app(plan *podplan.App) {
	p := *plan // what the flavor does not do by default goes
	x := &appBuilder{builder: b, a: &p, known: b.in.Apps[plan.Name], out: &App{Name: plan.Name.String(), Differences: []Difference{}}}
	x.bounding = &p.Bounding
	if !b.flavor.contained {
		if p.FilterOrigin == podplan.FromDefault {
			p.Filter = nil
		}
		if p.BoundingOrigin != podplan.FromImage && p.BoundingOrigin != podplan.FromUser {
			x.bounding = nil
		}
		p.Masks = nil
	}
	x.filter = p.Filter
	x.image()
	x.program()
	x.user()
	x.out.WorkingDirectory = Text{Value: p.WorkDir(), Origin: origin(p.WorkDirOrigin())}
	x.compareRecord()
	x.capabilities()
	x.noNewPrivileges()
	x.seccomp()
	x.root()
	x.mounts()
	x.masks()
	x.devices()
	x.out.Limits = b.limits("app "+strconv.Quote(x.out.Name), p.Limits, &x.known)
	x.rlimits()
	x.oomScore()
	x.streams()
	x.selinux()
	x.compareProcess()
	for _, w := range p.Mounts.Warnings {
		b.warn("app %q: %s", x.out.Name, strings.TrimPrefix(w, "warning: "))
	}
	sortDifferences(x.out.Differences)
	b.r.Apps = append(b.r.Apps, *x.out)
}

func (x *appBuilder) image() {
	m := x.a.Image
	v, _ := m.Labels.Get("version")
	x.out.Image = Image{
		Name: m.Name.String(), Version: v, ID: x.a.Runtime.Image.ID.String(), Docker: x.a.Docker, Verification: x.known.Verification,
	}
}

func (x *appBuilder) program() {
	p := Program{Exec: list(x.a.App.Exec), PreStart: list(x.a.Handlers(appc.PreStart)), PostStop: list(x.a.Handlers(appc.PostStop))}
	who, args := x.a.ExecOrigin()
	p.Origin, p.ArgumentsOrigin = origin(who), origin(args)
	switch f := x.known.Found; {
	case x.known.Record != nil && x.known.Record.Start != nil && len(x.known.Record.Start.Exec) > 0:
		p.File = x.known.Record.Start.Exec[0]
	case f != nil:
		p.File = f.Program
		if f.ProgramErr != nil {
			p.Detail = f.ProgramErr.Error()
			x.refuse("app %q: %v", x.out.Name, f.ProgramErr)
		}
	case strings.HasPrefix(p.Exec[0], "/"): // not looked for
		p.File = p.Exec[0]
	}
	x.out.Program = p
}

func (x *appBuilder) user() {
	u := User{
		User: x.a.App.User, Group: x.a.App.Group, Groups: list(x.a.App.SupplementaryGIDs),
		Origin: origin(x.a.UserOrigin()), GroupOrigin: origin(x.a.GroupOrigin()), GroupsOrigin: origin(x.a.GroupsOrigin()),
	}
	switch f, r := x.known.Found, x.known.Record; {
	case r != nil:
		u.UID, u.GID = &r.UID, &r.GID
		u.Groups = list(r.Groups)
	case f != nil && f.UserErr == nil:
		u.UID, u.GID = &f.IDs.UID, &f.IDs.GID
	case f != nil:
		u.Detail = f.UserErr.Error()
		x.refuse("app %q: %v", x.out.Name, f.UserErr)
	default:
		u.Detail = "looked up in the root of the app when it starts"
	}
	x.uid, x.out.User = u.UID, u
}

func (x *appBuilder) capabilities() {
	c := Capabilities{Origin: origin(x.a.BoundingOrigin), Added: []string{}, Removed: []string{}, Unavailable: []string{}}
	set := x.bounding
	if set != nil {
		lost := *set & x.unavailable()
		c.Unavailable = names(lost)
		rest := *set &^ lost
		set, x.bounding = &rest, &rest
	}
	if set == nil && !x.flavor.contained {
		set = x.callerBounding()
		if x.a.BoundingOrigin == podplan.FromDefault {
			c.Origin = FromCaller
		}
	}
	if set == nil {
		x.out.Capabilities = c
		return
	}
	c.Bounding = names(*set)
	c.Added, c.Removed = names(*set&^caps.Default), names(caps.Default&^*set)
	switch {
	case x.uid == nil:
	case *x.uid == 0:
		c.Effective = names(*set)
	default:
		c.Effective = []string{}
	}
	x.out.Capabilities = c
}

// unavailable are the capabilities that nobody can be given here.
func (x *appBuilder) unavailable() caps.Set {
	lost := x.flavor.takes(x.in)
	if have := x.in.Host.Bounding; have != nil && x.in.Subject != OfPod {
		lost |= caps.All &^ *have
	}
	return lost
}

// callerBounding is the bounding set of who starts the app.
func (x *appBuilder) callerBounding() *caps.Set {
	switch {
	case x.known.Process != nil:
		s := x.known.Process.Bounding & caps.All
		return &s
	case x.in.Subject != OfPod:
		return x.in.Host.Bounding
	}
	return nil
}

func (x *appBuilder) noNewPrivileges() {
	uid := 1 // the number is not known: say what is true of everybody else
	if x.uid != nil {
		uid = *x.uid
	}
	on, why := x.a.NoNewPrivs(uid)
	f := Flag{On: on, Origin: origin(why)}
	if why == podplan.FromUID {
		f.Detail = "the user is not root and there is a system call filter"
		if x.uid == nil {
			f.Detail = "unless the user turns out to be root; there is a system call filter"
		}
	}
	if r := x.known.Record; r != nil {
		f.On = r.NoNewPrivs
	}
	x.out.NoNewPrivileges = f
}

func (x *appBuilder) seccomp() {
	s := Seccomp{Origin: origin(x.a.FilterOrigin), PodFilter: x.flavor.contained, Added: []string{}, Removed: []string{}, Rules: []ArgumentRule{}}
	if !x.flavor.contained && x.a.FilterOrigin == podplan.FromDefault {
		s.Origin = FromStage1
	}
	base := seccomp.Default(caps.Default)
	p := seccomp.Policy{Unfiltered: true}
	if x.filter != nil && !x.filter.Unfiltered {
		p = *x.filter
		s.On, s.List, s.Denied, s.Unknown = true, "allow", answer(p.Errno), answer(p.Errno)
		switch {
		case p.Unknown != 0:
			s.Unknown = answer(p.Unknown)
		case p.Mode == seccomp.Remove:
			s.Unknown = "allow"
		}
		if p.Mode == seccomp.Remove {
			s.List = "deny"
		}
	}
	added, removed := p.Diff(base)
	s.Added, s.Removed, s.Allowed = list(added), list(removed), len(p.Allowed())
	for _, r := range p.ArgumentRules() {
		s.Rules = append(s.Rules, ArgumentRule{Call: r.Call, Refuse: r.Refuse, Answer: answer(r.Errno)})
	}
	x.out.Seccomp = s
}

// answer names what a denied call gets.
func answer(e unix.Errno) string {
	if e == 0 {
		return "kill"
	}
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return strconv.Itoa(int(e))
}

func (x *appBuilder) root() {
	r := Root{Kind: "copy", ReadOnly: Flag{On: x.a.Runtime.ReadOnlyRootFS, Origin: origin(x.a.ReadOnlyOrigin())}}
	if x.in.Overlay {
		r.Kind = "overlay"
	}
	x.out.Root = r
}

func (x *appBuilder) mounts() {
	all := []Mount{}
	for _, m := range x.flavor.system(x.builder, x.a) {
		m.Kind = MountSystem
		if m.Origin == "" {
			m.Origin = FromStage1
		}
		if m.Target == "/etc/hosts" && m.Optional && x.known.Found != nil {
			if x.known.Found.HasHosts {
				continue
			}
			m.Optional = false
		}
		all = append(all, m)
	}
	for _, m := range x.a.Mounts.Mounts {
		all = append(all, x.volume(m))
	}
	if f := x.known.Found; f != nil && f.VolumeErr != nil {
		x.refuse("app %q: %v", x.out.Name, f.VolumeErr)
	}
	x.out.Mounts = all
}

func (x *appBuilder) volume(m appmount.Mount) Mount {
	v := Mount{
		Kind: MountHost, Volume: m.Volume.String(), Source: m.Source, Target: m.Target,
		ReadOnly: m.ReadOnly, Recursive: m.Recursive, Origin: FromUser,
	}
	if m.Kind == appmount.Host {
		return v
	}
	v.Kind, v.Source = MountEmpty, poddir.SharedVolumes+"/"+m.Volume.String()
	defined := slices.ContainsFunc(x.in.Manifest.Volumes, func(o appc.Volume) bool { return o.Name == m.Volume }) ||
		slices.ContainsFunc(x.a.Runtime.Mounts, func(o appc.Mount) bool { return o.AppVolume != nil && o.AppVolume.Name == m.Volume })
	if !defined {
		v.Kind, v.Origin = MountImplicit, FromImage
	}
	return v
}

func (x *appBuilder) masks() {
	m := Masks{Origin: FromDefault, ReadOnly: []string{}, Hidden: []string{}}
	switch {
	case x.a.Masks != nil:
		m.On, m.ReadOnly, m.Hidden = true, x.a.Masks.ReadOnly, x.a.Masks.Inaccessible
	case !x.flavor.contained:
		m.Origin = FromStage1
	default:
		m.Origin = FromInsecure
	}
	if p := x.known.Process; p != nil && m.On {
		m.Absent = []string{}
		for _, name := range slices.Concat(m.ReadOnly, m.Hidden) {
			if !p.Exists(name) {
				m.Absent = append(m.Absent, name)
			}
		}
	}
	x.out.Masks = m
}

func (x *appBuilder) devices() {
	d := Devices{Rules: []DeviceRule{}, Origin: FromDefault, By: "nothing"}
	switch {
	case !x.flavor.contained:
		d.Origin = FromStage1
	case x.in.Call.DisablePaths:
		d.Origin = FromInsecure
	default:
		rules := devfilter.Closed()
		switch r, f := x.known.Record, x.known.Found; {
		case r != nil && r.Start != nil:
			rules = append(rules, r.Start.Devices...)
		case f != nil:
			rules = append(rules, f.Devices...)
		}
		d.Restricted, d.By = true, "devices controller of cgroup v1"
		switch cgroup.Layout(x.in.Host.Cgroups) {
		case cgroup.Unified, cgroup.Hybrid:
			d.By = "BPF program on cgroup v2"
		}
		for _, r := range rules {
			d.Rules = append(d.Rules, deviceRule(r))
		}
	}
	x.out.Devices = d
}

func deviceRule(r devfilter.Rule) DeviceRule {
	text := r.String()
	device := text[:len(text)-len(r.Access)-1]
	known := map[string]string{
		"c 1:3": "null", "c 1:5": "zero", "c 1:7": "full", "c 1:8": "random", "c 1:9": "urandom", "c 5:0": "tty", "c 5:2": "ptmx",
		"c 136:*": "terminals",
	}
	return DeviceRule{Device: device, Access: r.Access, Name: known[device]}
}

func (x *appBuilder) streams() {
	for fd, mode := range x.a.Streams {
		s := Stream{Name: streamNames[fd], Mode: string(mode), Origin: origin(x.a.StreamOrigin(fd))}
		if !x.flavor.terminals && mode != podplan.StreamNull || !x.flavor.terminals && s.Origin == FromDefault {
			s.Mode, s.Origin = "caller", FromStage1
		}
		x.out.Streams = append(x.out.Streams, s)
	}
}

func (x *appBuilder) selinux() {
	s := x.a.Limits.SELinux
	if s == nil || !x.flavor.contained { // fly refuses it
		return
	}
	const name = isolator.SELinuxContext
	x.out.SELinux = &Text{Value: s.String(), Origin: isolatorOrigin(s.Origin)}
	switch {
	case x.in.Host.SELinux:
	case s.Origin == isolator.FromUser:
		x.refuse("app %q: the host has no SELinux for the isolator %s", x.out.Name, name)
		x.out.SELinux.Detail = "this host cannot: the pod does not start"
	default:
		x.warn("app %q: the host has no SELinux: the isolator %s of the image is skipped", x.out.Name, name)
		x.out.SELinux.Detail = "this host cannot: skipped with a warning"
	}
	if r := x.known.Record; r != nil && r.Label != s.String() {
		x.differ(SeenRecord, "selinux", s.String(), orNone(r.Label))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (x *appBuilder) oomScore() {
	o := OOMScoreAdj{Origin: FromCaller}
	if l := x.a.Limits.OOMScoreAdj; l != nil {
		o.Value, o.Origin = &l.Value, isolatorOrigin(l.Origin)
	}
	if r := x.known.Record; r != nil {
		o.Value = r.OOMScoreAdj
	}
	x.out.OOMScoreAdj = o
}
