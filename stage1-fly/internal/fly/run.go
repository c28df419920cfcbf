// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/program"
)

func run(argv []string) error {
	r, err := entrypoint.ParseRun(argv)
	if err != nil {
		return err
	}
	vars, err := entrypoint.ParseRunVars(os.Getenv)
	if err != nil {
		return err
	}
	// Before anything is opened: these numbers are not to mean something else.
	keep := append([]int{vars.LockFD}, listenFDs()...)
	unix.Umask(confine.Umask)
	warnIgnored(r)
	p, err := load(r)
	if err != nil {
		return err
	}
	if err := p.findMetadata(r, mds.Default); err != nil {
		return err
	}
	if err := writeRuntimeConfig(r, p.metadataURL); err != nil {
		return err
	}
	root, err := p.assemble(r)
	if err != nil {
		return err
	}
	prof, err := p.profile(r, root)
	if err != nil {
		return err
	}
	prog, err := p.program(root, prof, keep)
	if err != nil {
		return err
	}
	if err := p.publish(prof); err != nil {
		return err
	}
	if err := p.redirect(); err != nil {
		return err
	}
	if err := p.preStart(root); err != nil {
		return err
	}
	return execute(root, prof, prog)
}

// warnIgnored: a line of the contract, on stdout.
func warnIgnored(r entrypoint.Run) {
	if r.Hostname != "" {
		_, _ = os.Stdout.WriteString("Warning: -hostname not supported; ignoring\n")
	}
}

// findMetadata decides where the app finds the metadata service, if the pod is
// registered there: on the host's loopback, which is the pod's.
func (p *pod) findMetadata(r entrypoint.Run, files mds.Dir) error {
	if r.MDSToken == "" || p.noNet {
		return nil
	}
	e, err := files.Endpoint()
	if err != nil {
		return fmt.Errorf("find the metadata service: %w", err)
	}
	p.metadataURL = e.URL(netip.AddrFrom4([4]byte{127, 0, 0, 1}), r.MDSToken)
	return nil
}

// assemble makes the file system of the app.
func (p *pod) assemble(r entrypoint.Run) (*inroot.Root, error) {
	if r.IPC == "private" {
		if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
			return nil, fmt.Errorf("make an IPC namespace: %w", err)
		}
	}
	if p.noNet {
		if err := netns.Unshare(); err != nil {
			return nil, err
		}
	}
	if err := approot.Isolate(); err != nil {
		return nil, err
	}
	tree, err := approot.Open(filepath.Join(poddir.Stage1Rootfs, poddir.AppRootfs(p.runtime.Name.String())))
	if err != nil {
		return nil, err
	}
	if r.HostsMode == entrypoint.ModeDefault {
		if err := tree.DefaultHosts(); err != nil {
			return nil, err
		}
	}
	for _, w := range p.mounts.Warnings {
		say(w)
	}
	if err := tree.API(p.mounts); err != nil {
		return nil, err
	}
	if err := tree.Volumes(p.mounts, poddir.SharedVolumes, say); err != nil {
		return nil, err
	}
	err = tree.Names(approot.DNS{
		Resolv: r.ResolvMode, ResolvFile: filepath.Join(poddir.Stage1Rootfs, poddir.ResolvConf),
		Hosts: r.HostsMode, HostsFile: filepath.Join(poddir.Stage1Rootfs, poddir.Hosts),
	})
	if err != nil {
		return nil, err
	}
	if p.runtime.ReadOnlyRootFS {
		return tree.Root(), tree.ReadOnly()
	}
	return tree.Root(), nil
}

// profile decides what the app is held to, and makes its cgroup.
func (p *pod) profile(r entrypoint.Run, root *inroot.Root) (*profile.Profile, error) {
	ids, err := appuser.Resolve(root, p.identity())
	if err != nil {
		return nil, err
	}
	env := appenv.Compose(appenv.Runtime{
		Environment: p.app.Environment, AppName: p.runtime.Name.String(), MetadataURL: p.metadataURL,
		User: ids.Account.Name, Home: ids.Account.Home, Shell: ids.Account.Shell,
	})
	prof := &profile.Profile{
		App: p.runtime.Name.String(), PID: os.Getpid(),
		UID: ids.UID, GID: ids.GID, Groups: ids.Groups,
		Environment: appenv.List(env),
		NoNewPrivs:  p.limits.NoNewPrivs,
		PrivateIPC:  r.IPC == "private",
		PrivateNet:  p.noNet,
	}
	if c := p.limits.Caps; c != nil && !r.DisableCapabilities {
		prof.Bounding = &c.Bounding
	}
	if s := p.limits.Seccomp; s != nil && !r.DisableSeccomp && !s.Unfiltered {
		prof.Seccomp = &s.Policy
		// The kernel wants it for who lacks CAP_SYS_ADMIN.
		prof.NoNewPrivs = prof.NoNewPrivs || ids.UID != 0
	}
	if prof.OOMScoreAdj, err = p.adjustOOMScore(); err != nil {
		return nil, err
	}
	if prof.Rlimits, err = confine.Rlimits(); err != nil {
		return nil, err
	}
	if err := p.setRlimits(prof.Rlimits); err != nil {
		return nil, err
	}
	if prof.StartTime, err = profile.StartTime(prof.PID); err != nil {
		return nil, err
	}
	prof.Cgroups, err = p.limit(r.UUID)
	return prof, err
}

// identity is the request for user and group. The image's user field counts
// for a converted image whose group nobody has overridden.
func (p *pod) identity() appuser.Request {
	q := appuser.Request{User: p.app.User, Group: p.app.Group, SupplementaryGIDs: p.app.SupplementaryGIDs}
	if own := p.image.App; p.docker && own != nil && own.Group == p.app.Group {
		q.ImageUser = own.User
	}
	return q
}

func (p *pod) workDir() string {
	if p.app.WorkingDirectory == "" {
		return "/"
	}
	return p.app.WorkingDirectory
}

// program finds the program and puts together how it is called.
func (p *pod) program(root *inroot.Root, prof *profile.Profile, keep []int) (confine.Program, error) {
	workDir := p.workDir()
	envPath, given := p.app.Environment.Get("PATH")
	file, err := program.Find(root, p.app.Exec[0], workDir, program.SearchList(envPath, given, workDir))
	if err != nil {
		return confine.Program{}, err
	}
	return confine.Program{
		Root: root.File(), WorkDir: workDir, Path: file, Args: p.app.Exec[1:], Keep: keep,
		Env: append(prof.Environment[:len(prof.Environment):len(prof.Environment)], callerEnv(p.app.Environment, keep)...),
	}, nil
}

// callerEnv are the few variables of the caller that the app sees: the
// terminal type if there is one, and socket activation, which passes through
// with its descriptors.
func callerEnv(have appc.Environment, keep []int) []string {
	names := []string{}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		names = append(names, "TERM")
	}
	if len(keep) > 1 { // more than the lock
		names = append(names, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
	}
	// Other sockets have a path that leads nowhere in the app's root.
	if strings.HasPrefix(os.Getenv("NOTIFY_SOCKET"), "@") {
		names = append(names, "NOTIFY_SOCKET")
	}
	var env []string
	for _, n := range names {
		if v, ok := os.LookupEnv(n); ok {
			if _, set := have.Get(n); !set {
				env = append(env, n+"="+v)
			}
		}
	}
	return env
}

// listenFDs are the descriptors of socket activation, if they are meant for
// this process (sd_listen_fds(3)).
func listenFDs() []int {
	const start, most = 3, 1024
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > most {
		return nil
	}
	var fds []int
	for fd := start; fd < start+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// publish writes what other commands read. Nobody looks before there is a PID
// file, so only that one has to appear at once and whole; and none of it needs
// to survive power loss: the processes it tells of do not.
func (p *pod) publish(prof *profile.Profile) error {
	if err := writeFile(poddir.AppProfile, prof.Marshal(), 0o600); err != nil {
		return err
	}
	envFile := filepath.Join(poddir.Stage1Rootfs, poddir.AppEnv(prof.App))
	err := writeFile(envFile, appenv.File(prof.Environment), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(envFile), 0o755); err != nil {
			return err
		}
		err = writeFile(envFile, appenv.File(prof.Environment), 0o644)
	}
	if err != nil {
		return err
	}
	if err := writeFile(poddir.PGID, []byte(strconv.Itoa(unix.Getpgrp())+"\n"), 0o644); err != nil {
		return err
	}
	return atomicfile.WriteNoSync(poddir.PID, []byte(strconv.Itoa(prof.PID)+"\n"), 0o644)
}

// writeFile writes a file of the pod that nobody reads yet.
func writeFile(name string, data []byte, mode uint32) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	n, err := unix.Write(fd, data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// execute becomes the program. If that fails it says what is wrong with the
// file; a filter would forbid saying it afterwards, so then it looks before.
func execute(root *inroot.Root, prof *profile.Profile, prog confine.Program) error {
	if prof.Seccomp != nil {
		if d := program.Diagnose(root, prog.Path); d != "" {
			say(d)
			return fmt.Errorf("cannot execute %q", prog.Path)
		}
	}
	err := confine.Exec(prof, prog)
	if errors.Is(err, confine.ErrExecute) {
		if d := program.Diagnose(root, prog.Path); d != "" {
			say(d)
		}
	}
	return err
}

// writeRuntimeConfig writes the file of that name (spec stage1.md 5). There is no
// network of the pod's own.
func writeRuntimeConfig(r entrypoint.Run, metadataURL string) error {
	var insecure, o profile.Object
	insecure.Bool("DisablePaths", r.DisablePaths)
	insecure.Bool("DisableCapabilities", r.DisableCapabilities)
	insecure.Bool("DisableSeccomp", r.DisableSeccomp)
	o.String("MetadataServiceURL", metadataURL)
	o.String("PrivateUsers", r.PrivateUsers)
	o.String("MDSToken", r.MDSToken)
	o.String("Hostname", r.Hostname)
	o.Bool("Debug", r.Debug)
	o.Bool("Mutable", r.Mutable)
	o.String("ResolvConfMode", r.ResolvMode)
	o.String("EtcHostsMode", r.HostsMode)
	o.Raw("NetList", "{}")
	o.Bool("Interactive", r.Interactive)
	o.Raw("InsecureOptions", string(insecure.Bytes()))
	o.String("IPCMode", r.IPC)
	return writeFile(poddir.RuntimeConfig, o.Bytes(), 0o644)
}
