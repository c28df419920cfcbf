// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/journal"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1/internal/units"
	"github.com/rkt/rkt/v2/stage1/internal/wire"
)

// How long the supervisor waits for what should happen at once.
const (
	endPatience    = 10 * time.Second
	outputPatience = 3 * time.Second
)

// StatusError is the exit status of a pod that has run.
type StatusError int

func (e StatusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// Run is the run entrypoint. It returns when the pod has ended.
func Run(argv []string) error {
	p, err := load(argv)
	if p != nil {
		defer p.guard.End()
		defer p.restoreCgroup()
		defer p.dropNet()
	}
	if err != nil {
		return err
	}
	if err := p.prepare(); err != nil {
		var missing *approot.MissingError
		if errors.As(err, &missing) {
			say("stage1: %v", err)
			return StatusError(statusSetup) // as systemd-nspawn has it
		}
		return err
	}
	s, err := newSupervisor(p)
	if err != nil {
		return err
	}
	defer s.restoreTerminal()
	return s.run()
}

// supervisor is the supervisor of a running pod.
type supervisor struct {
	pod       *pod
	child     *child
	log       *log
	listener  *net.UnixListener
	notify    *net.UnixConn
	mux       *mux
	term      *terminal // of --interactive, nil without
	readers   sync.WaitGroup
	over      chan struct{} // closed once: the pod is to end
	ctx       context.Context
	cancel    context.CancelFunc
	redialing sync.Mutex // held while a lost connection to the systemd of the pod is made anew

	mu     sync.Mutex
	leader int // PID 1 of the pod, 0 until known
	// leaderFD names it for good.
	leaderFD *os.File
	bus      *Bus
	apps     map[string]*proc
	left     int   // apps of an immutable pod that have not ended
	ending   bool  // nobody may start any more
	ended    bool  // over is closed
	status   int   // of the pod
	ooms     int64 // processes of apps that have ended, killed for want of memory; on v2
}

// proc is a start of an app.
type proc struct {
	name    string
	pid     int // on the host
	podPID  int // in the pod
	started time.Time
	oom     string // cgroup that counts what is killed for want of memory
	ooms    int64  // how much that was before
	counts  bool   // it does count
	ended   bool
}

func newSupervisor(p *pod) (*supervisor, error) {
	s := &supervisor{pod: p, apps: map[string]*proc{}, over: make(chan struct{}), left: len(p.order)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.log = p.openLog()
	s.mux = newMux(s)
	err := p.asPodRoot(func() (err error) {
		socket := filepath.Join(poddir.Stage1Rootfs, wire.Socket)
		_ = os.Remove(socket)
		if s.listener, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"}); err != nil {
			return fmt.Errorf("socket of the supervisor: %w", err)
		}
		s.listener.SetUnlinkOnClose(false)
		return os.Chmod(socket, 0o600)
	})
	if err != nil {
		return nil, err
	}
	if s.notify, err = listenNotify(); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("stage1.sockets-made"); err != nil {
		return nil, err
	}
	if p.call.Interactive {
		s.term = openTerminal(s)
	}
	return s, nil
}

// openLog opens the journal of the pod. A pod without one still runs.
func (p *pod) openLog() *log {
	l := &log{out: os.Stdout, host: openHostLog(p.call.UUID.String())}
	err := p.asPodRoot(func() (err error) {
		l.journal, err = journal.OpenPod(filepath.Join(poddir.Stage1Rootfs, poddir.JournalDir), journal.Pod{
			UUID: p.call.UUID.String(), MachineID: parseID(p.machineID()), BootID: bootID(), Hostname: p.call.Hostname, GID: p.journalGroup(),
		})
		return err
	})
	if err != nil {
		say("warning: the pod has no journal: %v", err)
		l.journal = nil
	}
	return l
}

// journalGroup is the group whose members may read journals. In a user
// namespace it is nobody's.
func (p *pod) journalGroup() int {
	const groupName = "rkt"
	if p.users.count != 0 {
		return -1
	}
	g, err := user.LookupGroup(groupName)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

func parseID(hex string) (id [16]byte) {
	for i := range id {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			return [16]byte{}
		}
		id[i] = byte(n)
	}
	return id
}

func bootID() [16]byte {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	hex := strings.ReplaceAll(strings.TrimSpace(string(data)), "-", "")
	if err != nil || len(hex) != 32 {
		return [16]byte{}
	}
	return parseID(hex)
}

// run starts the pod and stays until it has ended.
func (s *supervisor) run() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH)
	if !signal.Ignored(unix.SIGHUP) { // nohup(1)
		signal.Notify(signals, unix.SIGHUP)
	}
	signal.Ignore(unix.SIGPIPE)
	var err error
	if s.child, err = s.pod.startChild(); err != nil {
		return errors.Join(err, s.tidy())
	}
	// Not before: what the pod says is judged by whose child it is. It waits.
	go s.accept()
	go s.readNotify()
	go s.watchdog()
	if err := failpoint.Hit("stage1.child-started"); err != nil {
		say("stage1: %v", err)
		s.kill(statusSetup)
	}
	s.supervise(signals)
	return s.end()
}

// supervise handles signals until the pod is to end or has ended.
func (s *supervisor) supervise(signals <-chan os.Signal) {
	for {
		select {
		case <-s.over:
			return
		case <-s.child.done:
			return
		case sig := <-signals:
			s.signal(sig)
		}
	}
}

func (s *supervisor) signal(sig os.Signal) {
	if sig == unix.SIGWINCH {
		s.term.resize()
		return
	}
	s.stop()
}

// stop ends the pod in order, with status 0 unless an app has failed before.
func (s *supervisor) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopAll()
}

// stopAll asks for every app to be stopped; what ends then is noticed where it
// is awaited. Called with the lock held.
func (s *supervisor) stopAll() {
	if s.ending {
		return
	}
	s.ending = true
	running := 0
	for _, a := range s.apps {
		if !a.ended {
			running++
		}
	}
	if running == 0 || s.bus == nil {
		s.close()
		return
	}
	names := s.unfinished()
	go func() {
		for _, name := range names {
			err := s.ask(func(bus *Bus) error { return bus.Stop(s.ctx, units.Service(name)) })
			if err == nil {
				err = failpoint.Hit("stage1.stop-asked")
			}
			if errors.Is(err, errPodEnds) {
				return // stopping every app is what its systemd does, too
			}
			if err != nil && !errors.Is(err, ErrNoUnit) {
				s.failStop(name, err)
				return
			}
		}
	}()
}

// failStop ends a pod whose systemd does not do what it is told.
func (s *supervisor) failStop(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	say("stage1: app %q cannot be stopped in order: %v", name, err)
	s.close()
}

// unfinished are the apps that run or may still be started. Called with the
// lock held.
func (s *supervisor) unfinished() (names []string) {
	for name, a := range s.apps {
		if !a.ended {
			names = append(names, name)
		}
	}
	for _, name := range s.pod.order {
		if s.apps[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

// close lets the pod end now. Called with the lock held.
func (s *supervisor) close() {
	s.ending = true
	if !s.ended {
		s.ended = true
		close(s.over)
	}
}

// kill ends the pod at once with this status: what runs has no exit status.
func (s *supervisor) kill(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
	s.close()
}

// end ends what is left of the pod and reports its status.
func (s *supervisor) end() error {
	s.mu.Lock()
	s.ending = true
	started, leader, bus, orderly := len(s.apps) > 0, s.leader, s.bus, s.ended
	idle := started && !s.running() && s.left <= 0
	s.mu.Unlock()
	if err := failpoint.Hit("stage1.ending"); err != nil {
		say("stage1: %v", err)
	}
	select {
	case <-s.child.done:
		// It has ended by itself: machinectl, a power-off from inside, an error.
		s.endLeader()
		if !started && !orderly && !s.pod.call.Mutable || s.child.status() != 0 && !started {
			return errors.Join(s.childError(), s.tidy())
		}
		s.childKilled()
	default:
		journald := bus != nil && s.flushJournald(bus)
		s.endChild(leader, idle && !journald && !machined())
	}
	if err := failpoint.Hit("stage1.child-ended"); err != nil {
		say("stage1: %v", err)
	}
	s.waitReaders()
	if err := s.tidy(); err != nil {
		say("stage1: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == 0 {
		return nil
	}
	return StatusError(s.status)
}

// inotifyUsedUp tells whether root of the host has used up its inotify
// instances (inotify(7)): the systemd of each pod has some.
func inotifyUsedUp() bool {
	const each = 3
	for range each {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			return true
		}
		if err != nil {
			return false
		}
		defer func() { _ = unix.Close(fd) }()
	}
	return false
}

// childKilled reports a systemd-nspawn that has not ended by itself.
func (s *supervisor) childKilled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state := s.child.cmd.ProcessState; state == nil || state.Success() || s.ended {
		return
	}
	say("stage1: systemd-nspawn has ended before the apps of the pod: %v", s.child.cmd.ProcessState)
	if s.status == 0 {
		s.status = statusSetup
	}
}

// endLeader kills PID 1 of a pod whose systemd-nspawn is gone, and waits for it.
// Where nobody has told which process that is, everything in the pod's cgroup goes.
func (s *supervisor) endLeader() {
	s.mu.Lock()
	f := s.leaderFD
	s.mu.Unlock()
	if f == nil {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		if err := s.pod.cgroup.Kill(ctx); err != nil {
			say("stage1: %v", err)
		}
		return
	}
	if err := unix.PidfdSendSignal(int(f.Fd()), unix.SIGKILL, nil, 0); err != nil {
		return // it has ended
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}, int(endPatience.Milliseconds()))
}

func (s *supervisor) childError() error {
	text := s.child.stderr.text()
	if text == "" {
		text = "no reason given"
	}
	if inotifyUsedUp() {
		text += "; the host has no inotify instance left, of which each pod needs three\n" +
			"hint: raise fs.inotify.max_user_instances (sysctl), 128 is enough for 42 pods"
	}
	say("stage1: systemd-nspawn ended with status %d before an app was started: %s", s.child.status(), text)
	return StatusError(max(s.child.status(), statusSetup))
}

// endChild kills PID 1 of the pod, which takes every process of the pod with
// it, and waits for systemd-nspawn. Nothing is left that could want to end in
// order: the apps have ended, or were to be killed.
//
// In an idle pod there is no other process. What PID 1 still waits for inside
// the kernel, 20 ms and more to close its inotify descriptors, holds nothing of
// the caller's, so nobody waits for that: systemd-nspawn dies with this process.
func (s *supervisor) endChild(leader int, idle bool) {
	if leader == 0 || unix.Kill(leader, unix.SIGKILL) != nil {
		_ = s.child.cmd.Process.Kill()
		idle = false
	}
	if idle {
		return
	}
	select {
	case <-s.child.done:
	case <-time.After(endPatience):
		_ = s.child.cmd.Process.Kill()
		<-s.child.done
	}
	s.endLeader()
}

// flushJournald lets the pod's journald, if an app has made systemd start it,
// write what it still holds. It tells whether there is one.
func (s *supervisor) flushJournald(bus *Bus) bool {
	const unit = "systemd-journald.service"
	ctx, cancel := context.WithTimeout(s.ctx, outputPatience)
	defer cancel()
	// What an app has sent just before its end may be the next thing that systemd
	// looks at, after this question; then it has something to do with the unit.
	_, _ = bus.Unit(ctx, unit)
	const pace = 2 * time.Millisecond
	for {
		if queued, err := bus.HasJob(ctx, unit); err != nil || !queued {
			break
		}
		time.Sleep(pace)
	}
	u, err := bus.Wait(ctx, unit, func(u UnitState) bool { return u.Active != "activating" })
	if err != nil || u.Active != "active" {
		return err != nil
	}
	for _, socket := range []string{"systemd-journald.socket", "systemd-journald-dev-log.socket"} {
		_ = bus.Stop(ctx, socket) // it would start the service again
	}
	if bus.Stop(ctx, unit) == nil {
		_, _ = bus.Wait(ctx, unit, UnitState.Done)
	}
	return true
}

// waitReaders waits until everything the apps wrote has been passed on.
func (s *supervisor) waitReaders() {
	done := make(chan struct{})
	go func() { s.readers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(outputPatience):
		say("stage1: the output of the apps is still held open by somebody outside the pod")
	}
}

// tidy takes away what tells of a running pod.
func (s *supervisor) tidy() error {
	s.cancel()
	s.pod.releasePorts()
	s.mux.close()
	_ = s.listener.Close()
	_ = s.notify.Close()
	_ = os.Remove(notifySocket)
	_ = s.pod.s1.Remove(poddir.SupervisorStatus)
	s.log.close()
	return failpoint.Hit("stage1.tidied")
}

// readNotify follows what systemd-nspawn reports.
func (s *supervisor) readNotify() {
	b := make([]byte, 4<<10)
	for {
		n, err := s.notify.Read(b)
		if err != nil {
			return
		}
		for line := range strings.SplitSeq(string(b[:n]), "\n") {
			key, value, _ := strings.Cut(line, "=")
			switch {
			case key == "X_NSPAWN_LEADER_PID":
				if pid, err := strconv.Atoi(value); err == nil && pid > 1 {
					s.setLeader(pid)
				}
			case line == "READY=1":
				s.ready()
			}
		}
	}
}

// setLeader publishes PID 1 of the pod, once.
func (s *supervisor) setLeader(pid int) {
	s.mu.Lock()
	known := s.leader != 0
	if !known {
		s.leader = pid
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			s.leaderFD = os.NewFile(uintptr(fd), "leader")
		}
	}
	s.mu.Unlock()
	if known {
		return
	}
	err := failpoint.Hit("stage1.leader-known")
	if err == nil {
		err = s.pod.guard.Protect(pid)
	}
	if err == nil {
		err = failpoint.Hit("stage1.leader-guarded")
	}
	if err == nil {
		err = atomicfile.WriteNoSync(poddir.PID, []byte(strconv.Itoa(pid)+"\n"), 0o644)
	}
	if err == nil {
		err = failpoint.Hit("stage1.leader-written")
	}
	if err != nil {
		say("stage1: %v", err)
		s.kill(statusSetup)
	}
}

// ready tells everybody that the pod accepts app operations.
func (s *supervisor) ready() {
	err := s.onPodRoot(func() error {
		_ = s.pod.s1.Remove(poddir.SupervisorStatus)
		return s.pod.s1.Symlink(poddir.SupervisorReady, poddir.SupervisorStatus)
	})
	if err == nil {
		err = failpoint.Hit("stage1.ready")
	}
	if err != nil {
		say("stage1: %v", err)
	}
	notifyHost("READY=1")
	if !s.pod.call.Mutable {
		go s.watchMissing()
	}
}

// startPatience is how long the program that starts an app may take to report
// after systemd has started it.
const startPatience = 3 * time.Second

// watchMissing looks after apps whose start nobody has reported: what starts
// them may have failed before it could say so.
func (s *supervisor) watchMissing() {
	select {
	case <-s.ctx.Done():
		return
	case <-s.over:
		return
	case <-time.After(startPatience):
	}
	s.mu.Lock()
	var missing []string
	for _, name := range s.pod.order {
		if s.apps[name] == nil {
			missing = append(missing, name)
		}
	}
	leader, ending := s.leader, s.ending
	s.mu.Unlock()
	if len(missing) == 0 || ending {
		return
	}
	bus, err := DialBus(leader)
	if err != nil {
		say("stage1: app %q has not been started, and nobody knows why: %v", missing[0], err)
		s.kill(statusSetup)
		return
	}
	defer bus.Close()
	for _, name := range missing {
		s.awaitStart(bus, name)
	}
}

// awaitStart waits until an app has been reported after all, or has failed.
func (s *supervisor) awaitStart(bus *Bus, name string) {
	u, err := bus.Wait(s.ctx, units.Service(name), func(u UnitState) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.apps[name] != nil || s.ending || u.Done() && u.PID != 0 && u.Code != 0
	})
	s.mu.Lock()
	known := s.apps[name] != nil || s.ending
	s.mu.Unlock()
	if known {
		return
	}
	if err != nil {
		say("stage1: app %q: %v", name, err)
		s.kill(statusSetup)
		return
	}
	a := &proc{name: name, started: time.Now()}
	s.mu.Lock()
	s.apps[name] = a
	s.mu.Unlock()
	e := s.exitOf(a, u)
	say("stage1: app %q could not be started: the program that starts it has ended with status %d", name, number(e))
	s.appEnded(a, e)
}

// notifyHost passes a state on to the service manager of the host (sd_notify(3)).
func notifyHost(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" || name[0] != '/' && name[0] != '@' {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = c.Write([]byte(state))
	_ = c.Close()
}
