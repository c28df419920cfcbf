// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/seccomp"
	"github.com/rkt/rkt/v2/pkg/userspace"
	"github.com/rkt/rkt/v2/stage1/internal/nspawn"
)

// notifySocket is where systemd-nspawn reports, in the pod directory.
const notifySocket = "notify.sock"

// child is the running systemd-nspawn.
type child struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	err    error         // of Wait, valid after done
	stderr *tail
}

// status is the exit status of systemd-nspawn, after done.
func (c *child) status() int {
	if c.cmd.ProcessState == nil {
		return statusSetup
	}
	return c.cmd.ProcessState.ExitCode()
}

// statusSetup is the exit status of what nspawn fails to set up.
const statusSetup = 1

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = t.b[len(t.b)-tailSize:]
	}
	return len(p), nil
}

// text is what was kept, as one line.
func (t *tail) text() string {
	var lines []string
	for line := range strings.Lines(string(t.b)) {
		line = strings.TrimSpace(line)
		// Said by nspawn where the host's /run is no tmpfs; harmless.
		if line != "" && !strings.Contains(line, "remove disk file system") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// nspawn decides how systemd-nspawn is called.
func (p *pod) nspawn() (nspawn.Call, error) {
	c := nspawn.Call{
		UUID: p.call.UUID, Root: poddir.Stage1Rootfs, Hostname: p.call.Hostname, PrivateUsers: p.call.PrivateUsers,
		Caps: p.plan.Kept, AllCaps: p.call.DisableCapabilities,
		ShareIPC: p.call.IPC == "parent", WritableAPI: p.call.DisablePaths,
		Unified:     p.cgroup.Unified() != "",
		Label:       p.vars.SELinuxContext,
		MountLabel:  p.vars.SELinuxMountContext,
		Notify:      "/proc/" + strconv.Itoa(os.Getpid()) + "/cwd/" + notifySocket,
		Debug:       p.call.Debug,
		LinkJournal: exists("/run/systemd/system"),
		Register:    machined(),
	}
	if p.flavor == "host" {
		var err error
		if c.Program, err = exec.LookPath("systemd-nspawn"); err != nil {
			return c, fmt.Errorf("stage1-host needs systemd-nspawn of the host: %w (install the package systemd-container)", err)
		}
		return c, nil
	}
	root := poddir.Stage1Rootfs
	c.Loader, c.Program = root+"/usr/lib/rkt/ld.so", root+userspace.Nspawn
	// An absolute path: of a relative one the linker does not remember which
	// variants of the directory are missing, and tries ten for each library. The
	// pod's own path may have characters that end a path here.
	c.LibraryPath = "/proc/self/cwd/" + root + "/" + userspace.LibraryDir
	return c, nil
}

// machined tells whether pods can be registered with systemd-machined.
func machined() bool {
	return exists("/run/dbus/system_bus_socket") && exists("/run/systemd/system") && exists("/run/systemd/machines")
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// startChild starts systemd-nspawn on a thread of its own: it has the pod's
// network namespace, cgroup and filter, which this process has not.
func (p *pod) startChild() (*child, error) {
	call, err := p.nspawn()
	if err != nil {
		return nil, err
	}
	filter, err := p.supervisorFilter()
	if err != nil {
		return nil, err
	}
	if dir := p.cgroup.Unified(); dir != "" {
		if err := p.guard.KillBy(dir + "/" + cgroup.PayloadGroup + "/cgroup.kill"); err != nil {
			return nil, err
		}
	}
	c := &child{done: make(chan struct{}), stderr: &tail{}}
	argv := call.Argv()
	for _, kv := range failpoint.Environ() { // for the programs inside
		argv = append(argv, "systemd.setenv="+kv)
	}
	c.cmd = exec.Command(argv[0]) //nolint:gosec // argv[0] is stage1's or the host's systemd-nspawn
	c.cmd.Args = argv
	path := os.Getenv("PATH")
	if path == "" {
		path = entrypoint.DefaultPath
	}
	c.cmd.Env = call.Env(path)
	p.sockets.pass(c.cmd)
	c.cmd.Stderr = c.stderr
	if p.call.Debug {
		c.cmd.Stdout, c.cmd.Stderr = os.Stderr, io.MultiWriter(os.Stderr, c.stderr)
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ns, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	cwd, err := os.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = cwd.Close() }()
	started := make(chan error)
	go func() {
		// Not unlocked: the thread ends with the child, not before (prctl(2),
		// PR_SET_PDEATHSIG), and nothing else may ever run on it.
		runtime.LockOSThread()
		err := p.becomeParent(c.cmd, ns, cwd, filter)
		p.sockets.close()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.done)
		}
	}()
	return c, <-started
}

func (p *pod) becomeParent(cmd *exec.Cmd, ns, cwd *os.File, filter seccomp.Program) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("start systemd-nspawn: mount namespace: %w", err)
	}
	if err := unix.Fchdir(int(cwd.Fd())); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	if err := p.hideRuntime(); err != nil {
		return err
	}
	if err := p.enterNet(); err != nil {
		return err
	}
	dir := p.cgroup.Unified()
	if dir == "" { // systemd-nspawn goes by this hierarchy then
		if err := p.cgroup.JoinThread(); err != nil {
			return err
		}
	} else {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
	// The pod does not get the keys of rkt's caller; nspawn's own attempt to
	// give it a keyring comes when the filter forbids it already.
	_, _, e := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0) // 0: a new one without a name
	if e != 0 && e != unix.ENOSYS {
		return fmt.Errorf("keyring of the pod: %w", e)
	}
	if err := filter.Load(); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.before-nspawn"); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	return nil
}

// hideRuntime keeps what systemd-nspawn makes below /run/systemd/nspawn out of
// the host's tree, where it would stay behind. A pod that is registered needs
// the real place.
func (p *pod) hideRuntime() error {
	const dir = "/run/systemd/nspawn"
	if machined() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("run-time directory of systemd-nspawn: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
		return fmt.Errorf("run-time directory of systemd-nspawn: %w", err)
	}
	return nil
}

// supervisorFilter is the filter of systemd-nspawn and all that it starts.
func (p *pod) supervisorFilter() (seccomp.Program, error) {
	prog, err := seccomp.Supervisor(p.podCaps(), p.extraCalls())
	if err != nil {
		return nil, fmt.Errorf("system call filter of the pod: %w", err)
	}
	return prog, nil
}

// extraCalls are those that the filter of some app allows beyond the default.
func (p *pod) extraCalls() []string {
	var all []string
	for i := range p.plan.Apps {
		a := &p.plan.Apps[i]
		switch {
		case a.Filter == nil:
			all = append(all, seccomp.Policy{Unfiltered: true}.Allowed()...)
		case a.FilterOrigin != podplan.FromDefault:
			all = append(all, a.Filter.Allowed()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// listenNotify opens the notification socket of systemd-nspawn.
func listenNotify() (*net.UnixConn, error) {
	_ = os.Remove(notifySocket)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifySocket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notification socket: %w", err)
	}
	return c, os.Chmod(notifySocket, 0o600)
}
