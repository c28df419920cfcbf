// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/program"
	"github.com/rkt/rkt/v2/stage1/internal/nspawn"
)

// assembleTrees mounts the volumes of every app while nothing of the pod runs.
func (p *pod) assembleTrees() error {
	if err := p.protectPrograms(); err != nil {
		return err
	}
	if err := p.mountRun(); err != nil {
		return err
	}
	for _, name := range p.order {
		if err := p.assemble(p.apps[name], name); err != nil {
			return fmt.Errorf("app %q: %w", name, err)
		}
	}
	return nil
}

// mountRun mounts the pod's /run, as systemd-nspawn does where nothing is
// mounted yet, with a link to nowhere in place of the directory in which systemd
// looks for questions about passwords while it boots: it watches that directory
// with inotify, and to end the watch PID 1 waits 10 to 20 ms for the kernel just
// when it should serve the first app. There is nobody to answer.
func (p *pod) mountRun() error {
	const options = "mode=755,size=20%,nr_inodes=800k"
	dir := filepath.Join(poddir.Stage1Rootfs, "run")
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_STRICTATIME)
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("%s,uid=%d,gid=%d", options, p.users.shift, p.users.shift)); err != nil {
		return &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	if err := p.s1.Mkdir("run/systemd", 0o755); err != nil {
		return err
	}
	return p.s1.Symlink("/nowhere", "run/systemd/ask-password")
}

func (p *pod) assemble(a *app, name string) error {
	tree, err := approot.Open(p.appRoot(name))
	if err != nil {
		return err
	}
	defer func() { _ = tree.Root().Close() }()
	for _, w := range a.plan.Mounts.Warnings {
		say("%s", w)
	}
	volumes, err := approot.CloneVolumes(a.plan.Mounts, poddir.SharedVolumes, p.idmap())
	if err != nil {
		return err
	}
	defer volumes.Close()
	if a.devices, err = deviceRules(volumes); err != nil {
		return err
	}
	return tree.PutVolumes(volumes, func(line string) { say("%s", line) })
}

// deviceRules let an app use the devices that its volumes are.
func deviceRules(volumes approot.Volumes) (rules []devfilter.Rule, err error) {
	devices, err := volumes.Devices()
	for _, d := range devices {
		r := devfilter.Rule{Type: devfilter.Char, Major: int64(d.Major), Minor: int64(d.Minor), Access: "rw"}
		if d.Block {
			r.Type = devfilter.Block
		}
		if d.ReadOnly {
			r.Access = "r"
		}
		rules = append(rules, r)
	}
	return rules, err
}

// idmap shows the volumes of a pod with a user namespace with the pod's owners.
func (p *pod) idmap() func(*os.File) error {
	if p.users.count == 0 {
		return nil
	}
	return func(f *os.File) error { return idmap.Mount(f, p.users.shift, p.users.count) }
}

// protectPrograms keeps the pod from changing the programs that start its
// apps: they lie in a tree that root of the pod may write.
func (p *pod) protectPrograms() error {
	for _, name := range []string{"launch", "post-stop"} {
		path := filepath.Join(poddir.Stage1Rootfs, name)
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return &os.PathError{Op: "protect", Path: path, Err: err}
		}
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if err == nil {
			err = unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		_ = unix.Close(fd)
		if err != nil {
			return &os.PathError{Op: "protect", Path: path, Err: err}
		}
	}
	return nil
}

// resolve decides what depends on the files of the app.
func (p *pod) resolve(a *podplan.App, dir string) (*profile.Profile, error) {
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	ids, err := appuser.Resolve(root, a.Identity(p.users.shift, p.users.count))
	if err != nil {
		return nil, err
	}
	if p.users.count != 0 && (uint32(ids.UID) >= p.users.count || uint32(ids.GID) >= p.users.count) {
		return nil, fmt.Errorf("uid %d or gid %d are out of range %d", ids.UID, ids.GID, p.users.count)
	}
	workDir := a.WorkDir()
	envPath, given := a.App.Environment.Get("PATH")
	file, err := program.Find(root, a.App.Exec[0], workDir, program.SearchList(envPath, given, workDir))
	if err != nil {
		return nil, err
	}
	env := appenv.Compose(appenv.Runtime{
		Environment: a.App.Environment, AppName: a.Name.String(), MetadataURL: p.metadataURL,
		User: ids.Account.Name, Home: ids.Account.Home, Shell: ids.Account.Shell,
	})
	if term := os.Getenv("TERM"); a.HasTTY() && term != "" {
		if _, ok := env.Get("TERM"); !ok {
			env = append(env, appc.EnvironmentVariable{Name: "TERM", Value: term})
		}
	}
	bounding := a.Bounding
	prof := &profile.Profile{
		App: a.Name.String(), UID: ids.UID, GID: ids.GID, Groups: ids.Groups,
		Environment: appenv.List(env), Bounding: &bounding, Seccomp: a.Filter,
		Start: &profile.Start{
			Exec: append([]string{file}, a.App.Exec[1:]...), WorkDir: workDir,
			PreStart: a.Handlers(appc.PreStart), PostStop: a.Handlers(appc.PostStop),
			ReadOnly: a.Runtime.ReadOnlyRootFS, HostPaths: a.Masks == nil,
			KeepSys: a.Mounts.Below("/sys"), WholeSys: p.users.count != 0 || p.cgroupWhole(),
			TTY: a.HasTTY(), Interactive: p.call.Interactive,
			Devices: p.apps[a.Name.String()].devices, PodCaps: p.podCaps(), PodCalls: p.extraCalls(), UserShift: p.users.shift,
		},
	}
	prof.NoNewPrivs, _ = a.NoNewPrivs(ids.UID)
	if prof.Rlimits, err = p.appRlimits(a); err != nil {
		return nil, err
	}
	if prof.Label, err = p.label(a); err != nil {
		return nil, err
	}
	if a.Masks != nil {
		prof.Start.ReadOnlyPaths, prof.Start.HiddenPaths = a.Masks.ReadOnly, a.Masks.Inaccessible
	}
	for _, s := range a.Streams {
		prof.Start.Streams = append(prof.Start.Streams, string(s))
	}
	if o := a.Limits.OOMScoreAdj; o != nil {
		prof.OOMScoreAdj = &o.Value
	}
	if p.call.DisableCapabilities {
		prof.Bounding = nil
	}
	return prof, nil
}

// podCaps are what the pod as a whole may ever do.
func (p *pod) podCaps() caps.Set { return p.podCapsOf(p.plan.Kept) }

func (p *pod) podCapsOf(kept caps.Set) caps.Set {
	if p.call.DisableCapabilities {
		return caps.All
	}
	return nspawn.Default | kept
}

// appRlimits are those of rkt's caller with the app's own in their place. Only
// a person may go above the caller's hard limits, and that takes
// CAP_SYS_RESOURCE.
func (p *pod) appRlimits(a *podplan.App) ([]profile.Rlimit, error) {
	limits := slices.Clone(p.rlimits)
	for _, l := range a.Limits.Rlimits {
		if l.Resource < 0 || l.Resource >= len(limits) {
			return nil, fmt.Errorf("isolator %s: no resource %s", isolator.Rlimits, l.Name)
		}
		own := limits[l.Resource]
		switch {
		case l.Hard <= own.Max:
		case l.Origin == isolator.FromImage:
			say("warning: app %q: %s isolator: %s is above the hard limit of rkt itself, which stays", a.Name, isolator.Rlimits, l.Name)
			l.Soft, l.Hard = min(l.Soft, own.Max), own.Max
		default:
			// The supervisor gets it, too: what it starts may then have it.
			if err := unix.Prlimit(0, l.Resource, &unix.Rlimit{Cur: own.Cur, Max: l.Hard}, nil); err != nil {
				return nil, fmt.Errorf("cannot apply the isolator %s: %s: %w: it is above the hard limit of rkt itself", isolator.Rlimits, l.Name, err)
			}
		}
		limits[l.Resource] = profile.Rlimit{Cur: l.Soft, Max: l.Hard}
	}
	return limits, nil
}

// label is the SELinux label of the app's processes, where the host has SELinux.
func (p *pod) label(a *podplan.App) (string, error) {
	c := a.Limits.SELinux
	if c == nil {
		return "", nil
	}
	if !exists("/sys/fs/selinux/enforce") {
		if c.Origin == isolator.FromUser {
			return "", fmt.Errorf("cannot apply the isolator %s: the host has no SELinux", isolator.SELinuxContext)
		}
		say("warning: app %q: %s isolator set but the host has no SELinux, skipping", a.Name, isolator.SELinuxContext)
		return "", nil
	}
	return c.User + ":" + c.Role + ":" + c.Type + ":" + c.Level, nil
}

func (p *pod) cgroupWhole() bool { return p.cgroup != nil && p.cgroup.Whole() }
