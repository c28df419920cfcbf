// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/overlay"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
	"github.com/rkt/rkt/v2/store/treestore"
)

// RunConfig says how to run a pod.
type RunConfig struct {
	Env
	Net                 string // value of --net, empty: default
	Interactive         bool
	LocalConfig         string
	ConfigDirs          []string // in rising order of what counts
	Hostname            string
	DNS                 DNS
	DisableCapabilities bool
	DisablePaths        bool
	DisableSeccomp      bool
	IPC                 string
	Environ             []string // of the caller, passed on

	// Register, if set, registers the pod with the metadata service and
	// returns the token for stage1.
	Register func(context.Context, *pod.Pod) (token string, err error)

	// Measure, if set, tells a TPM what is about to be started; an error keeps
	// the pod from it.
	Measure func(context.Context, Measurement) error
}

// Measurement is what a pod is started from.
type Measurement struct {
	UUID     poddir.UUID
	Stage1   string   // ID of its tree
	Manifest []byte   // of the pod, with the IDs of its images
	Args     []string // of stage1, without secrets
}

// groupName is the group that may read upper directories of pods.
const groupName = "rkt"

// Run starts a pod that Prepare returned, or a prepared one, and replaces this
// process by the pod's stage1: it returns only on failure. A prepared pod that
// somebody else starts or removes first stays as it is, and the error says
// "cannot transition to run".
func Run(ctx context.Context, p *pod.Pod, c RunConfig) error {
	r, err := c.load(ctx, p)
	if err != nil {
		return err
	}
	if err := p.ToRunning(ctx); err != nil {
		return err
	}
	if err := r.pinNetNS(); err != nil {
		return err
	}
	return privns.Do(func() error { return r.start(ctx) })
}

// start is what is loaded of a pod before it leaves its state.
type start struct {
	*RunConfig
	pod      *pod.Pod
	manifest *appc.PodManifest
	stage1   *appc.ImageManifest
	version  int
	entry    string // path of the run entrypoint in stage1
	overlay  bool
	mutable  bool
	users    userRange
	rawUsers string
	mapped   *rootfs.Users             // of an overlay pod with a user namespace
	gid      int                       // of group rkt, -1 if there is none
	trees    map[string]treestore.Tree // of an overlay pod, by ID
}

func (c *RunConfig) load(ctx context.Context, p *pod.Pod) (*start, error) {
	r := &start{RunConfig: c, pod: p}
	var err error
	if r.manifest, err = p.Manifest(); err != nil {
		return nil, err
	}
	r.mutable = isMutable(r.manifest)
	if len(r.manifest.Apps) == 0 && !r.mutable {
		return nil, ErrNoApps
	}
	if r.stage1, err = p.Stage1Manifest(); err != nil {
		return nil, err
	}
	if r.version, err = entrypoint.Version(r.stage1); err != nil {
		return nil, err
	}
	if r.entry, err = entrypoint.Lookup(r.stage1, entrypoint.AnnotationRun); err != nil {
		return nil, err
	}
	if r.overlay, err = p.UsesOverlay(); err != nil {
		return nil, err
	}
	if r.rawUsers, err = p.PrivateUsers(); err != nil {
		return nil, err
	}
	if r.users, err = parseUserRange(r.rawUsers); err != nil {
		return nil, err
	}
	if err := r.checkOverlay(); err != nil {
		return nil, err
	}
	return r, r.findTrees(ctx)
}

// findTrees looks for everything an overlay pod is made of while it can still
// stay as it is: a pod that has left its state cannot be started again.
func (r *start) findTrees(ctx context.Context) error {
	if !r.overlay {
		return nil
	}
	r.trees = map[string]treestore.Tree{}
	id, err := r.pod.Stage1TreeID()
	if err != nil {
		return err
	}
	if err := r.findTree(ctx, id); err != nil {
		return fmt.Errorf("stage1: %w", err)
	}
	for _, a := range r.manifest.Apps {
		id, err := r.pod.AppTreeID(a.Name)
		if err != nil {
			return err
		}
		if err := r.findTree(ctx, id); err != nil {
			return fmt.Errorf("app %q: %w", a.Name, err)
		}
	}
	return nil
}

func (r *start) findTree(ctx context.Context, id string) error {
	tree, err := r.Trees.Get(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return hint.With(err, "prepare another pod of the same images: that makes the tree again for this one, too")
	}
	r.trees[id] = tree
	return err
}

// checkOverlay repeats the support test for a pod that was prepared earlier.
func (r *start) checkOverlay() error {
	if !r.overlay || r.pod.State() == pod.Preparing {
		return nil
	}
	if err := overlay.Supported(r.pod.DataDir()); err != nil {
		return fmt.Errorf("unable to run prepared overlay-enabled pod: overlay not supported: %w", err)
	}
	if r.users.count == 0 {
		return nil
	}
	if err := rootfs.TryMapped(r.pod.DataDir()); err != nil {
		return fmt.Errorf("unable to run prepared overlay-enabled pod with a user namespace: %w", err)
	}
	return nil
}

func (r *start) path(rel string) string { return filepath.Join(r.pod.Path(), rel) }

// start runs on a thread in the pod's mount namespace and ends in exec.
func (r *start) start(ctx context.Context) error {
	unix.Umask(0o022) // of this thread and what it becomes
	r.gid = r.group()
	r.trace("Setting up stage1")
	if err := r.mapUsers(); err != nil {
		return err
	}
	defer func() { _ = r.mapped.Close() }()
	if r.overlay {
		if err := r.mountStage1(); err != nil {
			return fmt.Errorf("error setting up stage1: %w", err)
		}
	}
	s1, err := rootfs.OpenStage1(r.path(poddir.Stage1Rootfs), r.users.shift)
	if err != nil {
		return err
	}
	defer func() { _ = s1.Close() }()
	if err := r.placeApps(s1); err != nil {
		return fmt.Errorf("error setting up apps: %w", err)
	}
	if err := r.DNS.write(s1); err != nil {
		return fmt.Errorf("error writing DNS files: %w", err)
	}
	r.trace("Wrote filesystem to %s", r.pod.Path())
	token, err := r.register(ctx)
	if err != nil {
		return err
	}
	return r.exec(ctx, token)
}

// mapUsers makes what maps the layers of an overlay to the pod's user range. A
// pod that was copied has its IDs in the files.
func (r *start) mapUsers() (err error) {
	if r.overlay && r.users.count > 0 {
		r.mapped, err = rootfs.NewUsers(r.users.shift, r.users.count)
	}
	return err
}

func (r *start) mountStage1() error {
	id, err := r.pod.Stage1TreeID()
	if err != nil {
		return err
	}
	if err := r.mount(id, "", r.path(poddir.Stage1Rootfs)); err != nil {
		return err
	}
	s1, err := rootfs.OpenStage1(r.path(poddir.Stage1Rootfs), r.users.shift)
	if err != nil {
		return err
	}
	defer func() { _ = s1.Close() }()
	if err := s1.TouchStatus(); err != nil {
		return err
	}
	return failpoint.Hit("run.stage1-mounted")
}

// stage1Tree is the directory in the tree store that has stage1, if it is one
// directory: stage1 runs programs from there after the pod could have written
// to its own copy.
func (r *start) stage1Tree() string {
	id, err := r.pod.Stage1TreeID()
	if err != nil {
		return ""
	}
	if t := r.trees[id]; len(t.Lowers) == 1 {
		return t.Lowers[0]
	}
	return ""
}

func (r *start) mount(treeID, app, target string) error {
	return rootfs.Overlay{
		PodDir: r.pod.Path(),
		TreeID: treeID,
		App:    app,
		Lowers: r.trees[treeID].Lowers,
		Target: target,
		GID:    r.gid,
		Users:  r.mapped,
	}.Mount()
}

// group is the group that may read upper directories, -1 if there is none.
func (e *Env) group() int {
	g, err := user.LookupGroup(groupName)
	if err != nil {
		e.say("group %q not found, will use default gid when rendering images", groupName)
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

func (r *start) placeApps(s1 *rootfs.Stage1) error {
	for _, a := range r.manifest.Apps {
		name := a.Name.String()
		if r.overlay {
			if err := r.mountApp(s1, a.Name); err != nil {
				return err
			}
		}
		if err := s1.LinkMtab(name); err != nil {
			return err
		}
		if err := failpoint.Hit("run.app-placed"); err != nil {
			return err
		}
	}
	return nil
}

func (r *start) mountApp(s1 *rootfs.Stage1, name appc.Name) error {
	_, raw, err := r.pod.AppImageManifest(name)
	if err != nil {
		return err
	}
	target, err := s1.PlaceApp(name.String(), raw)
	if err != nil {
		return err
	}
	id, err := r.pod.AppTreeID(name)
	if err != nil {
		return err
	}
	return r.mount(id, name.String(), target)
}

func (r *start) register(ctx context.Context) (string, error) {
	if r.Register == nil {
		return "", nil
	}
	token, err := r.Register(ctx, r.pod)
	if err != nil {
		return "", fmt.Errorf("failed to register the pod: %w", err)
	}
	if err := os.WriteFile(r.path(poddir.MDSRegistered), nil, 0o640); err != nil {
		return "", err
	}
	return token, failpoint.Hit("run.registered")
}

// exec becomes stage1.
func (r *start) exec(ctx context.Context, token string) error {
	r.trace("Pivoting to filesystem %s", r.pod.Path())
	root := r.path(poddir.Stage1Rootfs)
	program, err := programIn(root, r.entry)
	if err != nil {
		return err
	}
	argv, warnings := r.call(filepath.Join(root, r.entry), token).Argv(r.version)
	for _, w := range warnings {
		r.say("%s", w)
	}
	if err := r.measure(ctx, filepath.Join(root, r.entry), token); err != nil {
		return err
	}
	env := entrypoint.RunVars{LockFD: r.pod.FD(), ConfigDirs: r.ConfigDirs, Tree: r.stage1Tree()}.Environ(r.Environ)
	if err := unix.Chdir(r.pod.Path()); err != nil {
		return &os.PathError{Op: "chdir", Path: r.pod.Path(), Err: err}
	}
	if err := keepOnly(r.pod.Lock(), listenFDs(r.Environ)); err != nil {
		return err
	}
	if err := failpoint.Hit("run.before-exec"); err != nil {
		return err
	}
	r.trace("Execing [%s]", strings.Join(argv, " "))
	err = unix.Exec(program, argv, env)
	return fmt.Errorf("error execing init: %w", &os.PathError{Op: "exec", Path: program, Err: err})
}

// secretArg stands for the token of the metadata service: the log of what was
// measured is shown to others.
const secretArg = "-"

func (r *start) measure(ctx context.Context, path, token string) error {
	if r.Measure == nil {
		return nil
	}
	m := Measurement{UUID: r.pod.UUID()}
	var err error
	if m.Manifest, err = r.pod.RawManifest(); err != nil {
		return err
	}
	if m.Stage1, err = r.pod.Stage1TreeID(); err != nil {
		return err
	}
	if token != "" {
		token = secretArg
	}
	m.Args, _ = r.call(path, token).Argv(r.version)
	return r.Measure(ctx, m)
}

func (r *start) call(path, token string) entrypoint.Run {
	return entrypoint.Run{
		Path:                path,
		Debug:               r.Debug,
		Net:                 r.Net,
		Interactive:         r.Interactive,
		PrivateUsers:        r.rawUsers,
		MDSToken:            token,
		LocalConfig:         r.LocalConfig,
		Hostname:            r.Hostname,
		ResolvMode:          r.DNS.ResolvMode,
		HostsMode:           r.DNS.HostsMode,
		DisableCapabilities: r.DisableCapabilities,
		DisablePaths:        r.DisablePaths,
		DisableSeccomp:      r.DisableSeccomp,
		Mutable:             r.mutable,
		IPC:                 r.IPC,
		UUID:                r.pod.UUID(),
	}
}
