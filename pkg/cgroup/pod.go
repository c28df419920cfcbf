// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
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

	unified  string // directory on v2, empty if the host has none
	relative string // of the tracking directory, below its mount
	whole    bool   // every controller is on v2
}

// MakePod makes the tracking directories of a pod called name. Before each
// mkdir it calls record with the paths of all directories so far and the next.
func (h *Host) MakePod(name string, record func(paths []string) error) (*Pod, error) {
	p := &Pod{host: h, name: name, rec: record, whole: true}
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		p.whole = p.whole && (hi.v2 || slices.Contains(hi.controllers, trackV1))
	}
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		switch {
		case hi.v2:
			if err := p.makeUnified(hi); err != nil {
				return nil, fmt.Errorf("make cgroup: %w", err)
			}
		case slices.Contains(hi.controllers, trackV1):
			if err := p.makeTrack(hi); err != nil {
				return nil, fmt.Errorf("make cgroup: %w", err)
			}
		}
	}
	p.whole = p.whole && p.unified != ""
	if len(p.paths) == 0 {
		return nil, errors.New("make cgroup: the host has neither the unified hierarchy nor " + trackV1)
	}
	return p, nil
}

// OpenPod finds the cgroup of a running pod from the directories that MakePod
// has reported, for a process that is not its supervisor, which has the ID pid.
func OpenPod(pid int, name string, paths []string, record func(paths []string) error) (*Pod, error) {
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
	p.whole = p.whole && p.unified != ""
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

// makeUnified makes the v2 directory. On a host where v2 has the controllers
// they are handed down to the pod; a host that tracks only needs no more than
// the directory.
func (p *Pod) makeUnified(hi *hierarchy) error {
	d := dir{path: path.Join(hi.own, p.name), v2: true}
	if p.whole {
		d.controllers = hi.controllers
		if err := p.host.makeUnified(hi, &d, p.name, p.record); err != nil {
			return err
		}
		if err := p.split(&d); err != nil {
			return err
		}
	} else if err := p.host.makeOne(d.path, p.record); err != nil {
		return err
	}
	p.unified = d.path
	p.relative = strings.TrimPrefix(d.path, hi.mount+"/")
	return nil
}

// split makes room for children with controllers: this process, if it was moved
// into the directory, goes to a child of its own.
func (p *Pod) split(d *dir) error {
	sup := path.Join(d.path, SupervisorGroup)
	if err := p.host.fs.mkdir(sup); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	procs, err := p.host.fs.read(path.Join(d.path, "cgroup.procs"))
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(procs), strconv.Itoa(os.Getpid())) {
		if err := p.host.fs.write(path.Join(sup, "cgroup.procs"), "0"); err != nil {
			return err
		}
	}
	return p.host.enable(d.path, d.controllers)
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

// Whole tells whether every controller is on v2, so that the pod's own service
// manager can set limits.
func (p *Pod) Whole() bool { return p.whole }

// HasV1 and HasUnified tell whether a controller is in a v1 hierarchy or on v2.
func (p *Pod) HasV1(controller string) bool {
	hi := p.host.find(controller)
	return hi != nil && !hi.v2
}

// HasUnified is described at HasV1.
func (p *Pod) HasUnified(controller string) bool {
	hi := p.host.find(controller)
	return hi != nil && hi.v2
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
	for _, c := range l.Controllers() {
		if !p.host.Has(c) {
			return &NoControllerError{Controller: c}
		}
		if err := l.apply(p.host.fs, p.unified, c, true); err != nil {
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
