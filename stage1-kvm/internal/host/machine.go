// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/guest"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/hypervisor"
)

// machine is the running virtual machine: qemu, and the daemon of its shares.
type machine struct {
	qemu, daemon *exec.Cmd
	done         chan struct{} // closed when qemu has ended
	console      *tail
	// agent is the connection to the guest.
	agent *net.UnixConn
}

const (
	// rootDir is the root that qemu sees: stage1 as it is in its image.
	rootDir = "kvm-root"
	// shareSocket exists for a moment, while virtiofsd is connected.
	shareSocket = "kvm-share.sock"
)

// startMachine starts virtiofsd and qemu.
func (p *pod) startMachine(call hypervisor.Machine) (*machine, error) {
	if err := makeQemuRoot(p.tree(), call.Accel); err != nil {
		return nil, err
	}
	listener, share, err := shareSockets()
	if err != nil {
		return nil, err
	}
	defer closeAll(listener, share)
	ours, theirs, err := agentSockets()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	m := &machine{done: make(chan struct{}), console: &tail{}, agent: ours}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	m.daemon = virtiofsd(p.tree(), filepath.Join(dir, shareDir), listener, m.console)
	files := []*os.File{share, theirs}
	call.ShareFD, call.AgentFD = firstFD, firstFD+1
	call.ShareTag, call.AgentPort = guest.ShareTag, guest.PortName
	for _, c := range p.net.cards {
		call.Cards = append(call.Cards, hypervisor.Card{FD: firstFD + len(files), MAC: c.as.MAC})
		files = append(files, c.tap)
	}
	m.qemu = p.qemu(call, files, m.console)
	ns, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, err
	}
	defer closeAll(ns)
	cwd, err := os.Open(".")
	if err != nil {
		return nil, err
	}
	defer closeAll(cwd)
	started := make(chan error)
	go func() {
		// Not unlocked: both end with this thread (prctl(2), PR_SET_PDEATHSIG),
		// and it is in the pod's cgroup.
		runtime.LockOSThread()
		err := p.startBoth(m, ns, cwd)
		started <- err
		if err != nil {
			return
		}
		_ = m.qemu.Wait()
		close(m.done)
		_ = m.daemon.Wait()
	}()
	if err := <-started; err != nil {
		_ = ours.Close()
		return nil, err
	}
	for _, c := range p.net.cards {
		_ = c.tap.Close() // the machine's alone: it goes with it
	}
	return m, nil
}

// firstFD is the number of the first descriptor that a program inherits
// (os/exec, ExtraFiles).
const firstFD = 3

// tree is where the programs of stage1 are taken from: out of the pod's reach
// where that is possible.
func (p *pod) tree() string {
	if p.vars.Tree != "" {
		return p.vars.Tree
	}
	return poddir.Stage1Rootfs
}

// startBoth starts both from a thread that is in the pod's mount namespace, which
// is that of the main thread, ns, only.
func (p *pod) startBoth(m *machine, ns, cwd *os.File) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("start the virtual machine: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("start the virtual machine: mount namespace: %w", err)
	}
	if err := unix.Fchdir(int(cwd.Fd())); err != nil {
		return fmt.Errorf("start the virtual machine: %w", err)
	}
	if err := p.joinCgroup(m.qemu, m.daemon); err != nil {
		return err
	}
	if err := m.daemon.Start(); err != nil {
		return fmt.Errorf("start virtiofsd: %w", err)
	}
	if err := m.qemu.Start(); err != nil {
		_ = m.daemon.Process.Kill()
		_ = m.daemon.Wait()
		return fmt.Errorf("start qemu: %w", err)
	}
	return nil
}

// joinCgroup has what the calling thread starts begin in the pod's cgroup.
func (p *pod) joinCgroup(cmds ...*exec.Cmd) error {
	dir := p.cgroup.Unified()
	if dir == "" {
		return p.cgroup.JoinThread()
	}
	for _, cmd := range cmds {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: dir, Err: err}
		}
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	return nil
}

// virtiofsd confines itself; it has to begin as root, which owns what the apps
// may own.
func virtiofsd(tree, source string, listener *os.File, messages io.Writer) *exec.Cmd {
	argv := hypervisor.VirtiofsdArgv(tree, firstFD, source)
	cmd := exec.Command(argv[0]) //nolint:gosec // of stage1
	cmd.Args, cmd.Env = argv, []string{}
	cmd.ExtraFiles = []*os.File{listener}
	cmd.Stderr = messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	return cmd
}

// qemu runs as nobody that exists, without capabilities, in namespaces without
// processes, networks or files but those of stage1, and loads a filter.
func (p *pod) qemu(call hypervisor.Machine, files []*os.File, console io.Writer) *exec.Cmd {
	argv := call.Argv()
	cmd := exec.Command(argv[0]) //nolint:gosec // of stage1
	cmd.Args, cmd.Env, cmd.Dir = argv, hypervisor.Env(""), "/"
	cmd.ExtraFiles = files
	cmd.Stdout, cmd.Stderr = console, console
	if call.Debug {
		both := io.MultiWriter(os.Stderr, console)
		cmd.Stdout, cmd.Stderr = both, both
	}
	uid := p.qemuUser()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Setsid: true, Chroot: rootDir,
		Credential: &syscall.Credential{Uid: uid, Gid: uid},
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
	}
	return cmd
}

// qemuUser is a user that nobody else is likely to be, not even another pod's.
func (p *pod) qemuUser() uint32 {
	const first, count = 2_000_000_000, 100_000_000
	h := fnv.New32a()
	_, _ = io.WriteString(h, p.call.UUID.String())
	return first + h.Sum32()%count
}

// makeQemuRoot mounts the image of stage1 read-only, with the one device in it
// that qemu needs, if it needs one.
func makeQemuRoot(tree string, accel hypervisor.Accel) error {
	if err := os.MkdirAll(rootDir, 0o700); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, tree, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "root of qemu", Path: tree, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr)
	if err == nil {
		err = unix.MoveMount(fd, "", unix.AT_FDCWD, rootDir, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return &os.PathError{Op: "root of qemu", Path: tree, Err: err}
	}
	if accel != hypervisor.KVM {
		return nil
	}
	return hypervisor.MakeKVMDevice(rootDir + "/dev")
}

// shareSockets returns a listening socket and one that is connected to it, both
// without a name.
func shareSockets() (listener, conn *os.File, err error) {
	_ = os.Remove(shareSocket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: shareSocket, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("socket of the shares: %w", err)
	}
	defer func() { _ = l.Close() }() // removes the name
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: shareSocket, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("socket of the shares: %w", err)
	}
	defer func() { _ = c.Close() }()
	if conn, err = c.File(); err != nil {
		return nil, nil, err
	}
	if listener, err = l.File(); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return listener, conn, nil
}

// agentSockets returns both ends of the connection to the guest.
func agentSockets() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "agent")
	theirs = os.NewFile(uintptr(fds[1]), "agent")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	ours, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("no unix socket"), theirs.Close())
	}
	return ours, theirs, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = t.b[len(t.b)-tailSize:]
	}
	return len(p), nil
}

// text is what was kept, as one line that does nothing to a terminal: a guest
// may have written it.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.b)) {
		line = strings.Map(func(c rune) rune {
			if c < 0x20 || c >= 0x7f {
				return -1
			}
			return c
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
