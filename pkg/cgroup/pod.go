// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// trackV1 is the v1 hierarchy without controllers that service managers track
// processes in.
const trackV1 = "name=systemd"

// Children of a pod's cgroup.
const (
	// SupervisorGroup holds what runs on the host's side, PayloadGroup the pod.
	// systemd-nspawn uses the same names.
	SupervisorGroup = "supervisor"
	PayloadGroup    = "payload"
	// appSlice is where systemd puts services, below PayloadGroup on v2.
	appSlice = "system.slice"
)

// Pod is the cgroup of a pod with several apps: one directory in the hierarchy
// that tracks processes (v2, name=systemd, or both), and on v1 one in each
// hierarchy whose controller a limit needs.
type Pod struct {
	host  *Host
	name  string
	paths []string // what gc has to look at, also if it is gone by now
	v1    []string // those of them in v1 hierarchies
	rec   func([]string) error

	unified     string // directory on v2, empty if the host has none
	relative    string // of the tracking directory, below its mount
	whole       bool   // every controller is on v2
	controllers []string
	lacks       error // why it has not got more of them

	left  string   // directory that this process was in, if it is not any more
	added []string // controllers that it had not handed down
	given bool     // unified was made by the host's service manager
}

// PodOptions say what a pod needs of its cgroup.
type PodOptions struct {
	// Need are the controllers of limits that are to be set. On v2 they decide
	// where the cgroup is: below the caller's if that can hand them down.
	Need []string
	// Mates are processes that belong to the calling one and move with it.
	Mates []int
	// NewScope asks the service manager of the host, if there is one that manages
	// v2, to put processes into a scope called like the pod, for the pod's own use.
	NewScope func(pids []int) error
}

// MakePod makes the tracking directories of a pod called name. Before each
// mkdir it calls record with the paths of all directories so far and the next.
func (h *Host) MakePod(name string, o PodOptions, record func(paths []string) error) (*Pod, error) {
	p := &Pod{host: h, name: name, rec: record, whole: true}
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		p.whole = p.whole && (hi.v2 || slices.Contains(hi.controllers, trackV1))
	}
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		switch {
		case hi.v2:
			if err := p.makeUnified(hi, o); err != nil {
				return nil, fmt.Errorf("make cgroup: %w", err)
			}
		case slices.Contains(hi.controllers, trackV1):
			if err := p.makeTrack(hi); err != nil {
				return nil, fmt.Errorf("make cgroup: %w", err)
			}
		}
	}
	p.whole = p.whole && p.unified != ""
	if p.relative == "" {
		return nil, errors.New("make cgroup: the host has neither the unified hierarchy nor " + trackV1)
	}
	return p, nil
}

// OpenPod finds the cgroup of a running pod from its Relative and the directories
// that MakePod has reported, for a process that is not its supervisor, which has
// the ID pid.
func OpenPod(pid int, name, relative string, paths []string, record func(paths []string) error) (*Pod, error) {
	h, err := detect("/proc/"+strconv.Itoa(pid), osFS{})
	if err != nil {
		return nil, err
	}
	p := &Pod{host: h, name: name, rec: record, paths: paths, whole: true}
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		p.whole = p.whole && (hi.v2 || slices.Contains(hi.controllers, trackV1))
		for _, dir := range paths {
			switch {
			case !strings.HasPrefix(dir, hi.mount+"/"):
			case hi.v2:
				p.unified = dir
			default:
				p.v1 = append(p.v1, dir)
			}
		}
	}
	if i := slices.IndexFunc(h.hierarchies, func(hi hierarchy) bool { return hi.v2 }); p.unified == "" && p.whole && i >= 0 && relative != "" {
		p.unified, p.given = path.Join(h.hierarchies[i].mount, strings.TrimSuffix(relative, "/"+PayloadGroup)), true
	}
	p.whole = p.whole && p.unified != ""
	if p.whole {
		if err := p.readControllers(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Pod) record(dir string) error {
	if !slices.Contains(p.paths, dir) {
		p.paths = append(p.paths, dir)
	}
	return p.rec(p.paths)
}

func (p *Pod) makeTrack(hi *hierarchy) error {
	dir := path.Join(hi.own, p.name)
	if err := p.makeV1(dir); err != nil {
		return err
	}
	if p.relative == "" {
		p.relative = strings.TrimPrefix(dir, hi.mount+"/")
	}
	return nil
}

func (p *Pod) makeV1(dir string) error {
	if err := p.host.makeOne(dir, p.record); err != nil {
		return err
	}
	if !slices.Contains(p.v1, dir) {
		p.v1 = append(p.v1, dir)
	}
	return nil
}

// makeUnified makes the v2 directory. On a host where v2 has the controllers the
// pod gets them; on a host that only tracks with it there is no more to do.
func (p *Pod) makeUnified(hi *hierarchy, o PodOptions) error {
	if p.whole && o.NewScope != nil {
		if ok, err := p.takeGiven(hi, o); ok || err != nil {
			return err
		}
	}
	d := dir{path: path.Join(hi.own, p.name), v2: true}
	if err := p.host.makeOne(d.path, p.record); err != nil {
		return err
	}
	if p.whole {
		d.controllers = podControllers()
		p.host.handDownTo(hi, d.controllers)
		err := p.handDown(hi, &d, o.Mates)
		if errors.Is(err, unix.EBUSY) && len(o.Need) == 0 {
			// It does without: everything that binds the caller binds it.
			p.lacks, err = &SharedError{Dir: hi.own}, nil
		}
		if errors.Is(err, unix.EBUSY) {
			if err = p.moveAbove(hi, &d); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	p.unified = d.path
	p.relative = strings.TrimPrefix(d.path, hi.mount+"/")
	return p.readControllers()
}

// takeGiven takes a cgroup that the host's service manager has made: that of the
// service that this process is, or a new scope. It has no other processes, and
// the manager leaves alone what is below. This process moves to a child, so that
// systemd-nspawn, which starts in there, can hand the controllers down.
//
// A unit with limits is not left for a scope (see makeAbove).
func (p *Pod) takeGiven(hi *hierarchy, o PodOptions) (ok bool, err error) {
	rel := strings.TrimPrefix(hi.own, hi.mount)
	switch {
	case isSystemService(rel) && p.host.alone(hi.own, o.Mates):
		p.relative = strings.TrimPrefix(rel, "/") + "/" + PayloadGroup
		p.left = hi.own
	case p.bound(hi), o.NewScope(append(slices.Clone(o.Mates), os.Getpid())) != nil:
		return false, nil // no better place than without a manager
	default:
		now, err := p.host.ownUnified()
		if err != nil || path.Base(now) != p.name {
			return false, err
		}
		hi.own = path.Join(hi.mount, now)
		p.relative = strings.TrimPrefix(now, "/")
		if err := p.record(hi.own); err != nil {
			return false, err
		}
	}
	sup := path.Join(hi.own, SupervisorGroup)
	if err := p.host.fs.mkdir(sup); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	if err := p.host.moveAll(sup, o.Mates); err != nil {
		return false, err
	}
	p.unified, p.given = hi.own, true
	return true, p.readControllers()
}

// bound tells whether the unit of the calling process holds it to limits.
func (p *Pod) bound(hi *hierarchy) bool {
	for dir := hi.own; dir != hi.mount; dir = path.Dir(dir) {
		if p.host.limited(dir) {
			return true
		}
		if strings.HasSuffix(dir, ".service") || strings.HasSuffix(dir, ".scope") {
			return false
		}
	}
	return false
}

// isSystemService tells whether a cgroup is that of a service of the system, not
// of one of a user.
func isSystemService(rel string) bool {
	return strings.HasSuffix(rel, ".service") && !strings.Contains(rel, "/user@")
}

// podControllers are those that pods and apps are limited with.
func podControllers() []string { return []string{CPU, Memory, Pids, IO} }

// handDown gives the controllers to the children of the calling process's
// cgroup. If nobody else is in there, it moves to a child of the pod's: that has
// children with controllers in its turn.
func (p *Pod) handDown(hi *hierarchy, d *dir, mates []int) error {
	_, err := p.host.enable(hi.own, d.controllers)
	if !errors.Is(err, unix.EBUSY) || !p.host.alone(hi.own, mates) {
		return err
	}
	sup := path.Join(d.path, SupervisorGroup)
	if err := p.host.fs.mkdir(sup); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := p.host.moveAll(sup, mates); err != nil {
		return err
	}
	added, err := p.host.enable(hi.own, d.controllers)
	if err == nil {
		p.left, p.added = hi.own, added
	}
	return err
}

// Restore makes the cgroup that this process has left for the pod's one that
// can have processes again, for whoever is started there next. It is called
// when the pod has ended.
func (p *Pod) Restore() error {
	if p.left == "" {
		return nil
	}
	children, err := p.host.fs.children(p.left)
	if err != nil {
		return err
	}
	added := p.added
	if p.given {
		list, err := p.host.fs.read(path.Join(p.left, "cgroup.subtree_control"))
		if err != nil {
			return err
		}
		added = strings.Fields(list)
	} else if !slices.Equal(children, []string{p.unified}) {
		return nil // somebody else relies on the controllers by now
	}
	if len(added) == 0 {
		return nil
	}
	if err := p.host.disable(p.left, added); err != nil {
		return fmt.Errorf("restore cgroup: %w", err)
	}
	p.left = ""
	return nil
}

// Holds tells whether a directory is below the pod's.
func (p *Pod) Holds(dir string) bool {
	if p.unified != "" && strings.HasPrefix(dir, p.Payload()+"/") {
		return true
	}
	return slices.ContainsFunc(p.v1, func(own string) bool { return strings.HasPrefix(dir, own+"/") })
}

// Kill sends SIGKILL to everything in the pod (see the function Kill).
func (p *Pod) Kill(ctx context.Context) error {
	err := Kill(ctx, p.paths, p.name)
	if p.given {
		err = errors.Join(err, killTree(ctx, p.Payload()))
	}
	return err
}

// moveAbove makes the pod's directory further up, or leaves it where it is
// if there is no such place.
func (p *Pod) moveAbove(hi *hierarchy, d *dir) error {
	above := *d
	err := p.host.makeAbove(hi, &above, p.name, p.record)
	var shared *SharedError
	switch {
	case errors.As(err, &shared):
		p.lacks = shared
		return nil
	case err != nil:
		return err
	}
	_ = p.host.fs.rmdir(d.path) // if it stays, gc knows it
	*d = above
	return nil
}

// readControllers asks which controllers the pod has.
func (p *Pod) readControllers() error {
	list, err := p.host.fs.read(path.Join(p.unified, "cgroup.controllers"))
	if err != nil && p.whole {
		return err
	}
	p.controllers = strings.Fields(list)
	return nil
}

// GivePayload makes the payload's directory in each tracking hierarchy and
// gives it to a user of the host: root of the pod in a user namespace. It is
// called before there are directories for limits.
func (p *Pod) GivePayload(uid int) error {
	tracking := p.v1
	if p.unified != "" {
		tracking = append(slices.Clone(p.v1), p.unified)
	}
	for _, top := range tracking {
		dir := path.Join(top, PayloadGroup)
		if err := p.host.fs.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup: %w", err)
		}
		for _, file := range []string{"", "cgroup.procs", "tasks", "cgroup.threads", "cgroup.subtree_control"} {
			err := os.Lchown(path.Join(dir, file), uid, uid)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("give cgroup to the pod: %w", err)
			}
		}
	}
	return nil
}

// Relative is the path of the tracking directory below its mount, without
// leading slash: what the subcgroup file holds.
func (p *Pod) Relative() string { return p.relative }

// Paths are the directories made so far.
func (p *Pod) Paths() []string { return p.paths }

// Unified is the directory on v2; empty if there is none.
func (p *Pod) Unified() string { return p.unified }

// Payload is the directory on v2 in which the pod's own systemd works.
func (p *Pod) Payload() string { return path.Join(p.unified, PayloadGroup) }

// Whole tells whether every controller is on v2, so that the pod's own service
// manager can set limits.
func (p *Pod) Whole() bool { return p.whole }

// Has returns a *NoControllerError unless the pod and its apps can be limited
// with a controller.
func (p *Pod) Has(controller string) error {
	hi := p.host.find(controller)
	switch {
	case hi == nil, hi.v2 != p.whole:
		return &NoControllerError{Controller: controller}
	case p.whole && !slices.Contains(p.controllers, controller):
		return &NoControllerError{Controller: controller, Cause: p.why()}
	}
	return nil
}

// Check is Has for what limits ask of a controller: it may be there without a
// part. On v1 that shows when the limits are set.
func (p *Pod) Check(controller string, l Limits) error {
	if err := p.Has(controller); err != nil || !p.whole {
		return err
	}
	for _, s := range l.settings(controller, true) {
		if err := s.check(p.host.fs, p.unified); err != nil {
			return &NoControllerError{Controller: controller, Cause: err}
		}
	}
	return nil
}

// why the pod has not got a controller of the host's.
func (p *Pod) why() error {
	if p.lacks != nil {
		return p.lacks
	}
	return &WithheldError{Dir: path.Dir(p.unified)}
}

// JoinThread moves the calling thread into the v1 directories made so far. On
// v2, where threads cannot move alone, a child is started in the directory
// (clone3(2), CLONE_INTO_CGROUP).
func (p *Pod) JoinThread() error {
	for _, dir := range p.v1 {
		if err := p.host.fs.write(path.Join(dir, "tasks"), "0"); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// MakeV1 makes the pod's directory in a v1 hierarchy and returns it; ok is
// false if the controller is not on v1.
func (p *Pod) MakeV1(controller string) (dir string, ok bool, err error) {
	hi := p.host.find(controller)
	if hi == nil || hi.v2 {
		return "", false, nil
	}
	dir = path.Join(hi.own, p.name)
	if err := p.makeV1(dir); err != nil {
		return "", false, fmt.Errorf("make cgroup: %w", err)
	}
	return dir, true, nil
}

// SetV1 holds the whole pod to limits, in the v1 hierarchies.
func (p *Pod) SetV1(l Limits) error {
	for _, c := range l.Controllers() {
		dir, ok, err := p.MakeV1(c)
		if err != nil {
			return err
		}
		if !ok {
			return &NoControllerError{Controller: c}
		}
		if err := l.apply(p.host.fs, dir, c, false); err != nil {
			return err
		}
	}
	return nil
}

// SetUnified holds the whole pod to limits on v2.
func (p *Pod) SetUnified(l Limits) error {
	return p.SetDir(p.unified, l)
}

// SetDir sets limits in a directory of the pod on v2.
func (p *Pod) SetDir(dir string, l Limits) error {
	for _, c := range l.Controllers() {
		if err := p.Has(c); err != nil {
			return err
		}
		if err := l.apply(p.host.fs, dir, c, true); err != nil {
			return err
		}
	}
	return nil
}

// MakeApp makes the directories of an app in the v1 hierarchies of its limits
// and sets them. It may be repeated.
func (p *Pod) MakeApp(app string, l Limits) (dirs []string, err error) {
	for _, c := range l.Controllers() {
		top, ok, err := p.MakeV1(c)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, &NoControllerError{Controller: c}
		}
		dir := path.Join(top, appSlice, app+".service")
		for _, d := range []string{path.Dir(dir), dir} {
			if err := p.host.fs.mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, fmt.Errorf("make cgroup of app %q: %w", app, err)
			}
		}
		if err := l.apply(p.host.fs, dir, c, false); err != nil {
			return nil, err
		}
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// MakeDevices makes the directory of an app in the v1 hierarchy of devices,
// whose rules the caller writes.
func (p *Pod) MakeDevices(app string) (string, error) {
	const devices = "devices"
	top, ok, err := p.MakeV1(devices)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", &NoControllerError{Controller: devices}
	}
	dir := path.Join(top, appSlice, app+".service")
	for _, d := range []string{path.Dir(dir), dir} {
		if err := p.host.fs.mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("make cgroup of app %q: %w", app, err)
		}
	}
	return dir, nil
}

// Tracking are the directories of a process in the hierarchies that track
// processes: on v2, and on v1 in the one called name=systemd. One that the host
// has not is empty.
func (p *Pod) Tracking(pid int) (unified, v1 string, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", "", err
	}
	for _, own := range ownPaths(data) {
		for i := range p.host.hierarchies {
			hi := &p.host.hierarchies[i]
			switch {
			case hi.v2 && len(own.controllers) == 0:
				unified = path.Join(hi.mount, own.path)
			case slices.Contains(hi.controllers, trackV1) && slices.Contains(own.controllers, trackV1):
				v1 = path.Join(hi.mount, own.path)
			}
		}
	}
	return unified, v1, nil
}

// MoveTo moves a process into directories.
func MoveTo(dirs []string, pid int) error {
	for _, d := range dirs {
		if err := (osFS{}).write(path.Join(d, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process %d: %w", pid, err)
		}
	}
	return nil
}

// OpenProcs opens what JoinProcs takes for a directory.
func OpenProcs(dir string) (*os.File, error) {
	f, err := os.OpenFile(path.Join(dir, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("join cgroup: %w", err)
	}
	return f, nil
}

// JoinProcs moves the calling process into directories that it may not be able
// to name any more. It closes the files.
func JoinProcs(files []*os.File) error {
	for _, f := range files {
		_, err := f.WriteString("0")
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// OOMKills is how many processes of a directory the kernel has killed for want
// of memory; ok is false where it does not count them.
func OOMKills(dir string) (n int64, ok bool) {
	if dir == "" {
		return 0, false
	}
	for _, file := range []string{"memory.events", "memory.oom_control"} {
		text, err := (osFS{}).read(path.Join(dir, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			if v, found := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); found {
				n, err := strconv.ParseInt(v, 10, 64)
				return n, err == nil
			}
		}
	}
	return 0, false
}
