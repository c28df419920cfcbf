// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/overlay"
	"github.com/rkt/rkt/v2/store/imagestore"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

type runOptions struct {
	fetch          fetchFlags
	workingDir     string
	engine         string
	processEngines map[string]engine
}

// engine makes the process of a command. It is called in the mount namespace
// in which that is to run.
type engine struct {
	// dirs have to be in the root file system, links may be made there by the engine.
	dirs, links []string
	command     func(ctx context.Context, c *call, j job) (*exec.Cmd, error)
	// passStatus: the status of the process is that of acbuild.
	passStatus bool
}

// job is what an engine runs.
type job struct {
	root       string // absolute
	program    string // absolute, inside of root
	args       []string
	env        []string
	workingDir string
}

func newRun() command {
	o := runOptions{processEngines: map[string]engine{"systemd-nspawn": nspawnEngine(), "chroot": chrootEngine()}}
	return command{
		name: "run", args: "-- CMD [ARG...]", summary: "Run a command in the image", min: 1, max: -1, modifies: true,
		flags: func(fs *flag.FlagSet) {
			o.fetch.bind(fs)
			fs.StringVar(&o.workingDir, "working-dir", "", "the `DIR` to start the command in")
			fs.StringVar(&o.engine, "engine", "systemd-nspawn", "what runs the command: `systemd-nspawn|chroot`")
		},
		run: func(ctx context.Context, c *call) error { return c.runCommand(ctx, o) },
	}
}

func (c *call) runCommand(ctx context.Context, o runOptions) error {
	e, ok := o.processEngines[o.engine]
	if !ok {
		return fmt.Errorf("no such engine %q", o.engine)
	}
	if c.EUID != 0 {
		return errors.New("the run subcommand must be run as root")
	}
	if o.workingDir != "" && !path.IsAbs(o.workingDir) {
		return fmt.Errorf("working directory %q must be an absolute path", o.workingDir)
	}
	return c.withBuild(func(b *build) error {
		m, err := b.manifest()
		if err != nil {
			return err
		}
		lowers, err := c.renderDependencies(ctx, b, m, o.fetch)
		if err != nil {
			return err
		}
		if err := c.runInNamespace(ctx, b, m, o, e, lowers); err != nil {
			return err
		}
		if err := c.record(m); err != nil {
			return err
		}
		return b.setManifest(m)
	})
}

// runInNamespace runs the command from a thread with a mount namespace of its
// own, which ends with the last process in it.
func (c *call) runInNamespace(ctx context.Context, b *build, m *manifest, o runOptions, e engine, lowers []string) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread is of no use for anything else
		result <- c.runPrivately(ctx, b, m, o, e, lowers)
	}()
	err := <-result
	_, cerr := b.removeScratch()
	if len(lowers) > 0 {
		cerr = errors.Join(cerr, imagestore.RemoveTree(b.path(workDir)), imagestore.RemoveTree(b.path(targetDir)))
	}
	return errors.Join(err, cerr)
}

func (c *call) runPrivately(ctx context.Context, b *build, m *manifest, o runOptions, e engine, lowers []string) error {
	if err := privateMounts(); err != nil {
		return err
	}
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	rootfs := filepath.Join(dir, imageDir, rootfsDir)
	if len(lowers) > 0 {
		if rootfs, err = mountOverlay(dir, lowers, e); err != nil {
			return err
		}
	}
	root, err := inroot.Open(rootfs)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if len(lowers) == 0 {
		plan, err := planScratch(root, e.dirs, e.links)
		if err != nil {
			return err
		}
		if err := b.putScratch(root, plan); err != nil {
			return err
		}
	}
	return c.runIn(ctx, root, rootfs, m, o, e)
}

func (c *call) runIn(ctx context.Context, root *inroot.Root, rootfs string, m *manifest, o runOptions, e engine) error {
	j := job{root: rootfs, args: c.args[1:], workingDir: o.workingDir}
	searched := defaultPath
	if m.App != nil {
		for _, v := range m.App.Environment {
			j.env = append(j.env, v.Name+"="+v.Value)
		}
		if list, ok := m.App.Environment.Get("PATH"); ok && list != "" {
			searched = list
		}
	}
	if !slices.ContainsFunc(j.env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		j.env = append(j.env, "PATH="+defaultPath)
	}
	var err error
	if j.program, err = findProgram(root, c.args[0], o.workingDir, searched); err != nil {
		return err
	}
	cmd, err := e.command(ctx, c, j)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	c.debugf("running %q in %s", append([]string{j.program}, j.args...), rootfs)
	return e.status(cmd.Run())
}

// status is what the end of the process means.
func (e engine) status(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	code := exit.ExitCode()
	if ws, ok := exit.Sys().(interface {
		Signaled() bool
		Signal() unix.Signal
	}); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	if e.passStatus {
		return &statusError{code, nil}
	}
	return fmt.Errorf("non-zero exit code: %d", code)
}

// findProgram returns the absolute path of a program in the image.
func findProgram(root *inroot.Root, name, workingDir, list string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = strings.TrimSuffix("/"+strings.TrimPrefix(workingDir, "/"), "/") + "/" + name
		}
		if _, err := root.Stat(name); err != nil {
			return "", fmt.Errorf("binary %q doesn't exist", name)
		}
		return name, nil
	}
	dirs := strings.Split(list, ":")
	for _, dir := range dirs {
		if !path.IsAbs(dir) {
			continue
		}
		candidate := path.Join(dir, name)
		if st, err := root.Stat(candidate); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%s not found in any of: %v", name, dirs)
}

// mountOverlay mounts the image over its dependencies. Lowest is a tree with
// what a command needs and the image may lack; nothing of it gets into the image.
func mountOverlay(dir string, lowers []string, e engine) (string, error) {
	work := filepath.Join(dir, workDir)
	target := filepath.Join(dir, targetDir)
	if err := errors.Join(imagestore.RemoveTree(work), imagestore.RemoveTree(target)); err != nil {
		return "", err
	}
	lowest := filepath.Join(work, "lowest")
	for _, d := range []string{work, filepath.Join(work, "overlay"), lowest, target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", err
		}
	}
	if err := overlay.Supported(work); err != nil {
		return "", fmt.Errorf("overlayfs support required for using run with dependencies: overlayfs is not supported on your system: %w", err)
	}
	if err := fillLowest(lowest, e); err != nil {
		return "", err
	}
	m := overlay.Mount{
		Lowers: append(slices.Clone(lowers), lowest), Upper: filepath.Join(dir, imageDir, rootfsDir),
		Work: filepath.Join(work, "overlay"), Target: target,
	}
	if err := m.Do(); err != nil {
		return "", fmt.Errorf("mount the dependencies: %w", err)
	}
	return target, nil
}

func fillLowest(dir string, e engine) error {
	root, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	plan, err := planScratch(root, e.dirs, nil)
	if err == nil {
		err = makeScratch(root, plan)
	}
	return errors.Join(err, root.Close())
}

// chrootEngine changes the root of a child. It sees /proc and, if the image
// has no /dev/null, a small /dev.
func chrootEngine() engine {
	return engine{dirs: []string{"/proc", "/dev"}, passStatus: true, command: chrootCommand}
}

func chrootCommand(ctx context.Context, c *call, j job) (*exec.Cmd, error) {
	root, err := inroot.Open(j.root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if err := mountProc(root); err != nil {
		c.debugf("cannot mount /proc: %v", err)
	}
	if st, err := root.Stat("/dev/null"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		if err := mountDev(root); err != nil {
			return nil, fmt.Errorf("mount /dev: %w", err)
		}
	}
	dir := j.workingDir
	if dir == "" {
		dir = "/"
	}
	if st, err := root.Stat(dir); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, fmt.Errorf("working directory %q is not a directory of the image", dir)
	}
	cmd := exec.CommandContext(ctx, j.program, j.args...)
	cmd.Path, cmd.Err = j.program, nil // found in the image
	cmd.Dir, cmd.Env = dir, j.env
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: j.root, Pdeathsig: unix.SIGKILL}
	return cmd, nil
}

func mountProc(root *inroot.Root) error {
	return mountAt(root, "/proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// mountAt mounts on a directory of the image, which no link can exchange.
func mountAt(root *inroot.Root, name, source, fstype string, flags uintptr, data string) error {
	target, err := root.Target(name, true)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	return unix.Mount(source, procPath(target), fstype, flags, data)
}

func procPath(f *os.File) string { return fmt.Sprintf("/proc/thread-self/fd/%d", f.Fd()) }

// mountDev mounts a /dev with the devices that every program may expect.
func mountDev(root *inroot.Root) error {
	if err := mountAt(root, "/dev", "tmpfs", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=65536k"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		target, err := root.Target("/dev/"+name, false)
		if err != nil {
			return err
		}
		err = unix.Mount("/dev/"+name, procPath(target), "", unix.MS_BIND, "")
		if err := errors.Join(err, target.Close()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	dev, err := root.Open("/dev", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = dev.Close() }()
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := unix.Symlinkat(to, int(dev.Fd()), name); err != nil {
			return err
		}
	}
	if err := unix.Mkdirat(int(dev.Fd()), "shm", 0o777); err != nil {
		return err
	}
	return unix.Fchmodat(int(dev.Fd()), "shm", 0o1777, 0)
}
