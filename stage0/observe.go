// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
	programs "github.com/rkt/rkt/v2/pkg/program"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// lookInto looks up in an image's tree what depends on it: nil if that cannot
// be done, which is no reason to tell nothing. The tree is put together in a
// mount namespace of this thread's own.
func (e *Env) lookInto(lowers []string, ra *appc.RuntimeApp, image *appc.ImageManifest, volumes []appc.Volume) (found *explain.Found) {
	tmp := filepath.Join(e.DataDir, poddir.Tmp)
	if err := os.MkdirAll(tmp, 0o750); err != nil {
		return nil
	}
	dir, err := os.MkdirTemp(tmp, "explain-")
	if err != nil {
		return nil
	}
	defer func() { _ = os.Remove(dir) }()
	err = privns.Do(func() error {
		if err := mountReadOnly(lowers, dir); err != nil {
			return err
		}
		root, err := inroot.Open(dir)
		if err != nil {
			return err
		}
		defer func() { _ = root.Close() }()
		found = find(root, ra, image, volumes, 0, 0)
		return nil
	})
	if err != nil {
		e.trace("the root of app %q cannot be looked at: %v", ra.Name, err)
	}
	return found
}

// find looks up user, group and program as stage1 does.
func find(root *inroot.Root, ra *appc.RuntimeApp, image *appc.ImageManifest, volumes []appc.Volume, shift, count uint32) *explain.Found {
	a, err := podplan.NewApp(ra, image, volumes, podplan.Options{})
	if err != nil {
		return nil // making the report fails with it
	}
	f := &explain.Found{}
	f.IDs, f.UserErr = appuser.Resolve(root, a.Identity(shift, count))
	path, given := a.App.Environment.Get("PATH")
	workDir := a.WorkDir()
	f.Program, f.ProgramErr = programs.Find(root, a.App.Exec[0], workDir, programs.SearchList(path, given, workDir))
	if f.ProgramErr == nil && len(a.Mounts.Mounts) == 0 { // else it may be in a volume
		if d := programs.Diagnose(root, f.Program); d != "" {
			f.ProgramErr = errors.New(strings.TrimSpace(d))
		}
	}
	_, err = root.Stat("/etc/hosts")
	f.HasHosts = err == nil
	f.Devices, f.VolumeErr = lookAtSources(a.Mounts)
	return f
}

// lookAtSources looks at the host's side of volumes: which are devices, and
// which are not there.
func lookAtSources(plan appmount.Plan) (devices []devfilter.Rule, missing error) {
	for _, m := range plan.Mounts {
		if m.Kind != appmount.Host {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(m.Source, &st); err != nil {
			return devices, fmt.Errorf("volume %s: %w", m.Volume, &os.PathError{Op: "stat", Path: m.Source, Err: err})
		}
		r := devfilter.Rule{Type: devfilter.Char, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), Access: "rw"}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFBLK:
			r.Type = devfilter.Block
		case unix.S_IFCHR:
		default:
			continue
		}
		if m.ReadOnly {
			r.Access = "r"
		}
		devices = append(devices, r)
	}
	return devices, nil
}

// lookIntoPod is lookInto for an app of a pod that was not started.
func (x *podExplainer) lookIntoPod(ctx context.Context, ra *appc.RuntimeApp, image *appc.ImageManifest) *explain.Found {
	volumes := x.in.Manifest.Volumes
	if x.in.Overlay {
		id, err := x.pod.AppTreeID(ra.Name)
		if err != nil {
			return nil
		}
		tree, err := x.Trees.Get(ctx, id)
		if err != nil {
			return nil
		}
		return x.lookInto(tree.Lowers, ra, image, volumes)
	}
	dir, err := x.pod.OpenDir(filepath.Join(poddir.Stage1Rootfs, poddir.AppRootfs(ra.Name.String())))
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	users, err := parseUserRange(x.in.Call.PrivateUsers)
	if err != nil {
		return nil
	}
	return find(inroot.FromFile(dir), ra, image, volumes, users.shift, users.count)
}

// process asks the kernel about the running app; nil if it does not run, or
// ends meanwhile.
func (x *podExplainer) process(app appc.Name, prof *profile.Profile) *explain.Process {
	running, err := profile.ReadProcess(x.path(poddir.AppProcess(app.String())))
	if errors.Is(err, fs.ErrNotExist) && prof.Start == nil { // fly: rkt itself has become the app
		running, err = profile.Process{PID: prof.PID, StartTime: prof.StartTime, Cgroups: prof.Cgroups}, prof.Check(prof.PID)
	}
	if err != nil {
		return nil
	}
	p, err := observe(running)
	if err != nil {
		x.trace("process %d of app %q: %v", running.PID, app, err)
		return nil
	}
	root, err := inroot.Open(procFile(running.PID, "root"))
	if err != nil {
		return nil
	}
	x.roots = append(x.roots, root.Close)
	p.Resolve = root.Resolve
	p.Exists = func(path string) bool {
		_, err := root.Lstat(path)
		return err == nil
	}
	// What was read is of this process and no other.
	if t, err := profile.StartTime(running.PID); err != nil || t != running.StartTime {
		return nil
	}
	return p
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

// maxProcFile is far above what the kernel's limit on mounts allows.
const maxProcFile = 64 << 20

func readProc(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxProcFile+1))
	if err == nil && len(data) > maxProcFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxProcFile)
	}
	return data, err
}

// observe reads what the kernel shows of a process.
func observe(running profile.Process) (*explain.Process, error) {
	p := &explain.Process{PID: running.PID, Cgroups: running.Cgroups, OwnNamespaces: map[string]bool{}}
	for _, f := range []struct {
		name  string
		parse func([]byte) error
	}{
		{"status", func(data []byte) (err error) { p.Status, err = explain.ParseStatus(data); return err }},
		{"limits", func(data []byte) (err error) { p.Rlimits, err = explain.ParseLimits(data); return err }},
		{"mountinfo", func(data []byte) (err error) { p.Mounts, err = explain.ParseMounts(data); return err }},
		{"oom_score_adj", func(data []byte) (err error) {
			p.OOMScoreAdj, err = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 32)
			return err
		}},
	} {
		data, err := readProc(procFile(running.PID, f.name))
		if err != nil {
			return nil, err
		}
		if err := f.parse(data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for _, name := range []string{"mnt", "pid", "ipc", "net", "uts", "user", "cgroup"} {
		theirs, err := os.Readlink(procFile(running.PID, "ns/"+name))
		if err != nil {
			return nil, err
		}
		ours, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return nil, err
		}
		p.OwnNamespaces[name] = theirs != ours
	}
	for _, dir := range running.Cgroups {
		for _, name := range explain.ControlFileNames() {
			path := filepath.Join(dir, name)
			if data, err := os.ReadFile(path); err == nil {
				p.Files = append(p.Files, explain.ControlFile{Path: path, Value: strings.TrimSpace(string(data))})
			}
		}
	}
	return p, nil
}
