// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage1/internal/units"
	"github.com/rkt/rkt/v2/stage1/internal/wire"
)

// requestPatience is how long a program inside the pod may take to speak.
const requestPatience = 10 * time.Second

// maxRequests is how many requests are handled at once; further ones wait.
const maxRequests = 64

// accept serves the programs inside the pod.
func (s *supervisor) accept() {
	slots := make(chan struct{}, maxRequests)
	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			defer func() { _ = c.Close() }()
			s.serve(c)
		}()
	}
}

func (s *supervisor) serve(c *net.UnixConn) {
	_ = c.SetDeadline(time.Now().Add(requestPatience))
	b, files, err := wire.Read(c)
	if err != nil {
		return
	}
	r, err := wire.Parse(b)
	if err == nil {
		err = s.handle(c, r, files)
		if err != nil && r.Kind == wire.Failed && !s.isEnding() {
			// Everything else is reported by whoever is refused.
			say("stage1: app %q: %s (refused: %v)", r.App, printable(r.Text), err)
		}
	}
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		_ = wire.Refuse(c, err.Error())
	}
}

// peer is who sent a request, as the kernel says.
type peer struct {
	pid, uid int
	pidfd    *os.File
	leader   int
	// Directories that systemd has put it in; empty where there is none.
	unified, v1 string
}

// identify asks the kernel who is at the other end, and refuses whoever is not
// a process that the pod's systemd has started for the unit of the app.
func (s *supervisor) identify(c *net.UnixConn, app string) (*peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	if credErr != nil {
		return nil, credErr
	}
	fd, err := unix.PidfdOpen(int(cred.Pid), unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", cred.Pid, err)
	}
	p := &peer{pid: int(cred.Pid), uid: int(cred.Uid), pidfd: os.NewFile(uintptr(fd), "pidfd")}
	if err := s.check(p, app); err != nil {
		return nil, errors.Join(err, p.pidfd.Close())
	}
	return p, nil
}

func (s *supervisor) check(p *peer, app string) error {
	if p.uid != int(s.pod.users.shift) {
		return fmt.Errorf("user %d is not root of the pod", p.uid)
	}
	var err error
	if p.leader, err = parentOf(p.pid); err != nil {
		return err
	}
	if above, err := parentOf(p.leader); err != nil || above != s.child.cmd.Process.Pid {
		return fmt.Errorf("process %d is not a child of the pod's systemd", p.pid)
	}
	p.unified, p.v1, err = s.pod.cgroup.Tracking(p.pid)
	if err != nil {
		return err
	}
	group := p.unified
	if group == "" {
		group = p.v1
	}
	if !isGroupOf(group, app) || !s.pod.cgroup.Holds(group) {
		return fmt.Errorf("process %d is not of the unit of app %q", p.pid, app)
	}
	return nil
}

// isGroupOf tells whether a cgroup is that of the unit of an app. systemd puts
// "_" before a name that could be a file of the kernel's there, such as cpu.
func isGroupOf(group, app string) bool {
	name := path.Base(group)
	return name == units.Service(app) || name == "_"+units.Service(app)
}

// parentOf reads field 4 of /proc/PID/stat.
func parentOf(pid int) (int, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	text := string(data)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 2 {
		return 0, fmt.Errorf("process %d: unexpected format of stat", pid)
	}
	return strconv.Atoi(f[1])
}

func (s *supervisor) handle(c *net.UnixConn, r wire.Request, files []*os.File) error {
	p, err := s.identify(c, r.App)
	if err != nil {
		return err
	}
	defer func() { _ = p.pidfd.Close() }()
	s.setLeader(p.leader)
	prof, err := profile.ReadFile(poddir.AppHost(r.App))
	if err != nil {
		return err
	}
	if prof.Start == nil {
		return errors.New("the profile of the app is damaged")
	}
	if err := s.connect(c); err != nil {
		return err
	}
	switch r.Kind {
	case wire.Failed:
		// The reason is text of a program inside the pod: one printable line.
		if !s.isEnding() { // then a failed start is no news
			say("stage1: app %q: %s", r.App, printable(r.Text))
		}
		if err := s.begin(r, p, prof); err != nil {
			return err
		}
		return wire.Grant(c, nil)
	case wire.Handler:
		return s.grant(c, r, prof, nil, []string{"null", "log", "log"})
	}
	if err := s.begin(r, p, prof); err != nil {
		return err
	}
	return s.grant(c, r, prof, files, prof.Start.Streams)
}

func (s *supervisor) isEnding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, s)
}

// begin notes that an app is being started, puts its process under the app's
// limits, and sees to it that its end is noticed.
func (s *supervisor) begin(r wire.Request, p *peer, prof *profile.Profile) error {
	a := &proc{name: r.App, pid: p.pid, podPID: r.PID, started: time.Now()}
	s.mu.Lock()
	old := s.apps[r.App]
	switch {
	case s.ending:
		s.mu.Unlock()
		return errors.New("the pod is ending")
	case old != nil && !old.ended:
		s.mu.Unlock()
		if old.pid == p.pid {
			return nil // a launch that failed after it had its streams
		}
		return fmt.Errorf("app %q runs already", r.App)
	}
	first := len(s.apps) == 0
	s.apps[r.App] = a
	s.mu.Unlock()
	if first {
		close(s.pod.warm)
		err := s.setNamespaces(p.leader)
		if err == nil {
			err = failpoint.Hit("stage1.namespaces-set")
		}
		if err != nil {
			say("stage1: %v", err)
			s.kill(254)
			return err
		}
	}
	s.forget(r.App)
	go s.await(a)
	if r.Kind == wire.Failed {
		return nil
	}
	return s.confine(a, p, prof)
}

// forget takes away how an earlier start of an app has ended.
func (s *supervisor) forget(app string) {
	_ = s.pod.s1.Remove(poddir.AppStatus(app))
	_ = s.pod.s1.Remove(poddir.AppExitFile(app))
}

// confine puts the process of an app under what is enforced from outside.
func (s *supervisor) confine(a *proc, p *peer, prof *profile.Profile) error {
	dirs := prof.Cgroups
	for _, d := range dirs {
		if strings.Contains(d, "/memory/") {
			a.oom = d
			a.ooms, a.counts = cgroup.OOMKills(d)
		}
	}
	if s.pod.cgroup.Whole() {
		a.oom = p.unified
		// The pod's systemd sets the same, but goes on if it cannot.
		if err := s.pod.cgroup.SetDir(p.unified, prof.Start.Limits); err != nil {
			return err
		}
		_, a.counts = cgroup.OOMKills(a.oom)
	}
	if !prof.Start.HostPaths {
		if err := s.devices(a.name, p.unified, prof, &dirs); err != nil {
			return err
		}
	}
	if err := cgroup.MoveTo(dirs, a.pid); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.app-limited"); err != nil {
		return err
	}
	for _, d := range []string{p.unified, p.v1} {
		if d != "" {
			dirs = append(dirs[:len(dirs):len(dirs)], d)
		}
	}
	return s.writeProcess(a, dirs)
}

// devices closes the devices that the app is not to have.
func (s *supervisor) devices(app, unified string, prof *profile.Profile, dirs *[]string) error {
	rules := append(devfilter.Closed(), prof.Start.Devices...)
	if unified != "" {
		if err := devfilter.Attach(unified, rules); err != nil {
			return fmt.Errorf("device policy: %w", err)
		}
		return nil
	}
	dir, err := s.pod.cgroup.MakeDevices(app)
	if err != nil {
		return fmt.Errorf("device policy: %w", err)
	}
	if err := devfilter.WriteV1(dir, rules); err != nil {
		return fmt.Errorf("device policy: %w", err)
	}
	*dirs = append((*dirs)[:len(*dirs):len(*dirs)], dir)
	return nil
}

// writeProcess tells programs on the host about the process of an app.
func (s *supervisor) writeProcess(a *proc, cgroups []string) error {
	start, err := profile.StartTime(a.pid)
	if err != nil {
		return err
	}
	p := profile.Process{PID: a.pid, StartTime: start, Cgroups: cgroups}
	if err := atomicfile.WriteNoSync(poddir.AppProcess(a.name), p.Marshal(), 0o600); err != nil {
		return err
	}
	return failpoint.Hit("stage1.app-recorded")
}

// setNamespaces sets what belongs to the pod's namespaces as a whole, before
// the first app: the host name, of which systemd would strip characters, and
// kernel parameters.
func (s *supervisor) setNamespaces(leader int) error {
	return s.inNamespaces(leader, []string{"uts", "ipc", "net"}, func() error {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return err
		}
		if name := s.pod.call.Hostname; unix.ByteSliceToString(u.Nodename[:]) != name {
			if err := unix.Sethostname([]byte(name)); err != nil {
				return fmt.Errorf("set the host name %q: %w", name, err)
			}
		}
		for _, k := range s.pod.plan.Limits.Sysctls {
			file := "/proc/sys/" + k.Path()
			if err := os.WriteFile(file, []byte(k.Value), 0); err != nil {
				return fmt.Errorf("set the kernel parameter %s: %w", k.Name, err)
			}
		}
		return nil
	})
}

// inNamespaces runs fn on a thread in namespaces of a process.
func (s *supervisor) inNamespaces(pid int, kinds []string, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends
		for _, kind := range kinds {
			f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + kind)
			if err != nil {
				done <- err
				return
			}
			err = unix.Setns(int(f.Fd()), 0)
			_ = f.Close()
			if err != nil {
				done <- fmt.Errorf("enter the %s namespace of the pod: %w", kind, err)
				return
			}
		}
		done <- fn()
	}()
	return <-done
}

// onPodRoot runs fn on a thread with the file system identity of the pod's root.
func (s *supervisor) onPodRoot(fn func() error) error {
	if s.pod.users.count == 0 {
		return fn()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- idmap.WithRoot(s.pod.users.shift, fn)
	}()
	return <-done
}

// connect gets the connection to the pod's systemd from the first program that
// asks for something.
func (s *supervisor) connect(c *net.UnixConn) error {
	s.mu.Lock()
	known := s.bus != nil
	s.mu.Unlock()
	if known {
		return nil
	}
	f, err := wire.AskBus(c)
	if err != nil {
		return fmt.Errorf("reach the systemd of the pod: %w", err)
	}
	defer func() { _ = f.Close() }()
	bus, err := newBus(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus == nil {
		s.bus = bus
	} else {
		bus.Close()
	}
	return nil
}

// await waits for the end of a start of an app and records it.
func (s *supervisor) await(a *proc) {
	var u UnitState
	down := false
	err := s.ask(func(bus *Bus) (err error) {
		defer func() {
			down = bus.Down()
			// It may have told before it went, and not be there to be asked.
			if last := bus.Last(units.Service(a.name)); err != nil && last.Code != 0 && last.PID == uint32(a.podPID) {
				u, err = last, nil
			}
		}()
		u, err = bus.Wait(s.ctx, units.Service(a.name), func(u UnitState) bool {
			return u.Done() && (u.PID == uint32(a.podPID) || u.PID == 0) && (u.Code != 0 || u.PID == 0)
		})
		return err
	})
	if err != nil {
		s.mu.Lock()
		ended := s.ended
		s.mu.Unlock()
		if s.ctx.Err() == nil && !ended && !errors.Is(err, errPodEnds) {
			say("stage1: app %q: %v", a.name, err)
			s.kill(statusSetup)
		}
		return
	}
	if down { // an app that is stopped with the pod has not failed
		s.mu.Lock()
		s.ending = true
		s.mu.Unlock()
	}
	s.appEnded(a, s.exitOf(a, u))
}

// waitid(2) codes.
const (
	cldExited = 1
	cldDumped = 3
)

func (s *supervisor) exitOf(a *proc, u UnitState) poddir.AppExit {
	e := poddir.AppExit{StartedAt: a.started, FinishedAt: time.Now(), OOMKilled: u.Result == "oom-kill"}
	if u.Code == cldExited {
		e.Code = int(u.Status)
	} else {
		e.Signal, e.CoreDumped = int(u.Status), u.Code == cldDumped
	}
	killed := s.oomKilled(a)
	// What only the pod has counted is this app's if it looks like it.
	e.OOMKilled = e.OOMKilled || killed && (a.counts || e.Signal == int(unix.SIGKILL))
	return e
}

// oomKilled tells whether a process of an app was killed for want of memory. On
// v2 systemd may have removed the app's cgroup: what was killed there is what
// the pod has counted and no other app has.
func (s *supervisor) oomKilled(a *proc) bool {
	n, ok := cgroup.OOMKills(a.oom)
	if !s.pod.cgroup.Whole() {
		return ok && n > a.ooms
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		n, _ = cgroup.OOMKills(s.pod.cgroup.Payload())
		n -= s.ooms
		for _, other := range s.apps {
			if other != a && !other.ended {
				m, _ := cgroup.OOMKills(other.oom)
				n -= m
			}
		}
	}
	s.ooms += max(n, 0)
	return n > 0
}

// number is what 1.30 makes of the end of an app.
func number(e poddir.AppExit) int {
	if e.Signal != 0 {
		return e.Signal
	}
	return e.Code
}

// appEnded records the end of an app and decides whether it is the pod's.
func (s *supervisor) appEnded(a *proc, e poddir.AppExit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ended {
		return
	}
	a.ended = true
	plain := number(e)
	if s.ending {
		plain = 0 // it was stopped with the pod
	}
	if err := s.record(a.name, e, plain); err != nil {
		say("stage1: app %q: record the exit status: %v", a.name, err)
	}
	_ = os.Remove(poddir.AppProcess(a.name))
	s.left--
	switch {
	case s.pod.call.Mutable:
		if s.ending && !s.running() {
			s.close()
		}
	case plain != 0:
		s.status = plain
		s.stopAll()
		if !s.running() {
			s.close()
		}
	case s.left <= 0 || s.ending && !s.running():
		s.close()
	}
}

// running tells whether some app runs. Called with the lock held.
func (s *supervisor) running() bool {
	for _, a := range s.apps {
		if !a.ended {
			return true
		}
	}
	return false
}

// record writes the files of an ended app, the one that scripts read last.
func (s *supervisor) record(name string, e poddir.AppExit, plain int) error {
	return s.onPodRoot(func() error {
		if err := s.replace(poddir.AppExitFile(name), e.Marshal()); err != nil {
			return err
		}
		if err := failpoint.Hit("stage1.exit-written"); err != nil {
			return err
		}
		if err := s.replace(poddir.AppStatus(name), []byte(strconv.Itoa(plain)+"\n")); err != nil {
			return err
		}
		return failpoint.Hit("stage1.status-written")
	})
}

// replace writes a file of stage1's tree and renames it into place.
func (s *supervisor) replace(name string, data []byte) error {
	tmp := name + ".new"
	if err := s.pod.s1.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return s.pod.s1.Rename(tmp, name)
}
