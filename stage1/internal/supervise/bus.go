// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage1/internal/inside"
	"github.com/rkt/rkt/v2/stage1/internal/nspawn"
	"github.com/rkt/rkt/v2/stage1/internal/wire"
)

// Names of systemd's interface (org.freedesktop.systemd1(5)).
const (
	busName      = "org.freedesktop.systemd1"
	busPath      = dbus.ObjectPath("/org/freedesktop/systemd1")
	busManager   = busName + ".Manager"
	busUnit      = busName + ".Unit"
	busService   = busName + ".Service"
	busProps     = "org.freedesktop.DBus.Properties"
	busNoUnit    = busName + ".NoSuchUnit"
	privateBus   = "/run/systemd/private"
	busPatience  = 10 * time.Second
	unitObjects  = "/org/freedesktop/systemd1/unit/"
	replaceQueue = "replace"
	// maxLate is how many answers in a row may fail to come within busPatience
	// where somebody waits without end anyway.
	maxLate = 30
)

// Bus speaks with the systemd of a pod, over its private socket.
type Bus struct {
	conn *dbus.Conn
	// ready is closed when systemd has let this process in, or authErr is set.
	ready   chan struct{}
	authErr error

	mu      sync.Mutex
	changed map[dbus.ObjectPath]chan struct{} // closed when that unit has changed
	// last is what signals have said of services: systemd forgets a unit that
	// has ended without failure, and what it said of it.
	last map[dbus.ObjectPath]UnitState
	// down: systemd brings the pod down.
	down bool
}

// newBus speaks over a connection that a process inside the pod has made:
// systemd refuses peers whose process it cannot see. It does not wait for
// systemd, which may be busy: whoever asks it something does.
func newBus(f *os.File) (*Bus, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("reach the systemd of the pod: %w", err)
	}
	conn, err := dbus.NewConn(c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reach the systemd of the pod: %w", err), c.Close())
	}
	b := &Bus{conn: conn, ready: make(chan struct{}), changed: map[dbus.ObjectPath]chan struct{}{}, last: map[dbus.ObjectPath]UnitState{}}
	const most = 64
	signals := make(chan *dbus.Signal, most)
	conn.Signal(signals)
	go func() {
		defer close(b.ready)
		if err := conn.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
			b.authErr = errors.Join(fmt.Errorf("reach the systemd of the pod: %w", err), conn.Close())
		}
	}()
	go func() {
		for sig := range signals {
			b.mu.Lock()
			b.remember(sig)
			b.wake(sig)
			b.mu.Unlock()
		}
		b.mu.Lock() // the connection is closed: whoever waits finds out by asking
		for path := range b.changed {
			b.wakePath(path)
		}
		b.mu.Unlock()
	}()
	return b, nil
}

// in waits until systemd has let this process in.
func (b *Bus) in(ctx context.Context) error {
	select {
	case <-b.ready:
		return b.authErr
	case <-ctx.Done():
		return fmt.Errorf("reach the systemd of the pod: %w", ctx.Err())
	}
}

// Down tells whether systemd has said that it brings the pod down: somebody has
// asked it to, machinectl(1) for example.
func (b *Bus) Down() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.down
}

// Last is what signals have said of a service, for when nobody can be asked any
// more.
func (b *Bus) Last(unit string) UnitState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[unitPath(unit)]
}

// wake tells who waits for the unit that a signal is about. Called with the lock
// held.
func (b *Bus) wake(sig *dbus.Signal) {
	switch {
	case sig.Path != busPath:
		b.wakePath(sig.Path)
	case (sig.Name == busManager+".UnitNew" || sig.Name == busManager+".UnitRemoved") && len(sig.Body) == 2:
		// UnitNew is what the first change of a unit is told with.
		if path, ok := sig.Body[1].(dbus.ObjectPath); ok {
			b.wakePath(path)
		}
	}
}

func (b *Bus) wakePath(path dbus.ObjectPath) {
	if c, ok := b.changed[path]; ok {
		close(c)
		delete(b.changed, path)
	}
}

// remember keeps what a signal says about the main process of a service.
// Called with the lock held.
func (b *Bus) remember(sig *dbus.Signal) {
	const down = "shutdown.target" // part of every way to end
	if sig.Name == busManager+".JobNew" && len(sig.Body) == 3 && sig.Body[2] == down {
		b.down = true
	}
	if sig.Name != busProps+".PropertiesChanged" || len(sig.Body) < 2 {
		return
	}
	kind, _ := sig.Body[0].(string)
	props, _ := sig.Body[1].(map[string]dbus.Variant)
	if kind != busService || props == nil {
		return
	}
	u := b.last[sig.Path]
	u.read(props)
	b.last[sig.Path] = u
}

// read takes over what properties say.
func (u *UnitState) read(service map[string]dbus.Variant) {
	if v, ok := service["Result"].Value().(string); ok {
		u.Result = v
	}
	if v, ok := service["ExecMainPID"].Value().(uint32); ok {
		u.PID = v
	}
	if v, ok := service["ExecMainCode"].Value().(int32); ok {
		u.Code = v
	}
	if v, ok := service["ExecMainStatus"].Value().(int32); ok {
		u.Status = v
	}
}

// DialerName is what the program calls itself that DialBus starts inside a pod.
const DialerName = "dial-bus"

// DialBus connects to the systemd of a pod, whose process is leader, from a
// process that is not the pod's supervisor.
func DialBus(leader int) (*Bus, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "dialer"), os.NewFile(uintptr(fds[1]), "dialer")
	defer func() { _ = ours.Close() }()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends
		done <- dialInside(leader, theirs)
	}()
	err = <-done
	_ = theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("reach the systemd of the pod: %w", err)
	}
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	unixConn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("reach the systemd of the pod: no unix socket")
	}
	_ = unixConn.SetReadDeadline(time.Now().Add(busPatience))
	b, files, err := wire.Read(unixConn)
	if err != nil {
		return nil, fmt.Errorf("reach the systemd of the pod: %w", err)
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("reach the systemd of the pod: %s", b)
	}
	defer func() { _ = files[0].Close() }()
	return newBus(files[0])
}

func dialInside(leader int, keep *os.File) error {
	start, err := profile.StartTime(leader)
	if err != nil {
		return err
	}
	namespaces, err := inside.Open(leader, start)
	if err != nil {
		return err
	}
	self, err := inside.SealedCopy()
	if err != nil {
		return err
	}
	defer func() { _ = self.Close() }()
	pid, err := inside.Start(inside.Child{
		Program: self, Namespaces: namespaces, Keep: []*os.File{keep}, Caps: nspawn.Default, Name: DialerName,
	})
	if err != nil {
		return err
	}
	go func() { _, _ = unix.Wait4(pid, nil, 0, nil) }()
	return nil
}

// DialSystemd connects to the systemd of the pod that the calling process is in.
func DialSystemd() (*os.File, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: privateBus, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("reach systemd: %w", err)
	}
	defer func() { _ = c.Close() }()
	return c.File()
}

// Dialer is the other end of DialBus.
func Dialer(argv []string) error {
	files, err := inside.Kept(argv)
	if err != nil {
		return err
	}
	c, err := net.FileConn(files[0])
	if err != nil {
		return err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("called by hand")
	}
	bus, err := DialSystemd()
	if err != nil {
		return wire.Refuse(conn, err.Error())
	}
	return wire.Grant(conn, []*os.File{bus})
}

// next is closed when a unit changes from now on.
func (b *Bus) next(path dbus.ObjectPath) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.changed[path]
	if !ok {
		c = make(chan struct{})
		b.changed[path] = c
	}
	return c
}

// Close ends the connection.
func (b *Bus) Close() { _ = b.conn.Close() }

// unitPath is the object of a unit: every byte but letters and digits is
// written as its hexadecimal number.
func unitPath(unit string) dbus.ObjectPath {
	var s strings.Builder
	s.WriteString(unitObjects)
	for i := range len(unit) {
		c := unit[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0 {
			s.WriteByte(c)
		} else {
			fmt.Fprintf(&s, "_%02x", c)
		}
	}
	return dbus.ObjectPath(s.String())
}

// UnitState is what systemd knows of a service.
type UnitState struct {
	Active string // active, activating, inactive, failed, …
	Result string // success, exit-code, signal, oom-kill, …
	// PID is the main process's, as the pod numbers it.
	PID uint32
	// Code and Status are those of waitid(2): CLD_EXITED and a status, or
	// CLD_KILLED, CLD_DUMPED and a signal. Code 0: it has not ended.
	Code, Status int32
}

// Done tells whether nothing of the service runs any more.
func (u UnitState) Done() bool { return u.Active == "inactive" || u.Active == "failed" }

// exitProperties are those that tell how a service has ended: four out of 250.
var exitProperties = [...]string{"Result", "ExecMainPID", "ExecMainCode", "ExecMainStatus"}

// Unit asks for the state of a service.
func (b *Bus) Unit(ctx context.Context, unit string) (UnitState, error) {
	var u UnitState
	if err := b.in(ctx); err != nil {
		return u, err
	}
	ctx, cancel := context.WithTimeout(ctx, busPatience)
	defer cancel()
	path := unitPath(unit)
	// In this order, which is the one of the answers: what is asked after the
	// state says that the unit has ended is how it has ended.
	active := b.send(ctx, path, busProps+".Get", busUnit, "ActiveState")
	service := map[string]dbus.Variant{}
	var calls [len(exitProperties)]*dbus.Call
	for i, name := range exitProperties {
		calls[i] = b.send(ctx, path, busProps+".Get", busService, name)
	}
	var v dbus.Variant
	if err := b.answer(ctx, active).Store(&v); err != nil {
		return u, fmt.Errorf("state of unit %s: %w", unit, err)
	}
	u.Active, _ = v.Value().(string)
	for i, name := range exitProperties {
		var v dbus.Variant
		if err := b.answer(ctx, calls[i]).Store(&v); err != nil {
			return u, fmt.Errorf("state of unit %s: %w", unit, err)
		}
		service[name] = v
	}
	u.read(service)
	if u.PID == 0 { // never started, or forgotten
		b.mu.Lock()
		if last, ok := b.last[path]; ok {
			last.Active = u.Active
			u = last
		}
		b.mu.Unlock()
	}
	return u, nil
}

// HasJob tells whether something is still to be done with a unit: systemd runs
// what it has decided when it has nothing else to do.
func (b *Bus) HasJob(ctx context.Context, unit string) (bool, error) {
	if err := b.in(ctx); err != nil {
		return false, err
	}
	var v dbus.Variant
	if err := b.answer(ctx, b.send(ctx, unitPath(unit), busProps+".Get", busUnit, "Job")).Store(&v); err != nil {
		return false, fmt.Errorf("job of unit %s: %w", unit, err)
	}
	pair, _ := v.Value().([]any) // number of the job, 0 for none, and its object
	if len(pair) == 0 {
		return false, nil
	}
	id, _ := pair[0].(uint32)
	return id != 0, nil
}

// send calls a method without waiting for the answer.
func (b *Bus) send(ctx context.Context, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return b.conn.Object(busName, path).GoWithContext(ctx, method, 0, make(chan *dbus.Call, 1), args...)
}

// answer waits for the answer to a call. systemd overlooks a call that arrives
// together with the last line of the authentication, until something else
// arrives: so a call that gets no answer at once is followed by another one.
func (b *Bus) answer(ctx context.Context, call *dbus.Call) *dbus.Call {
	const atOnce = 5 * time.Millisecond
	select {
	case <-call.Done:
		return call
	case <-time.After(atOnce):
	}
	b.send(ctx, busPath, "org.freedesktop.DBus.Peer.Ping")
	return <-call.Done
}

// Ping waits for a sign of life.
func (b *Bus) Ping(ctx context.Context) error {
	if err := b.in(ctx); err != nil {
		return err
	}
	return b.answer(ctx, b.send(ctx, busPath, "org.freedesktop.DBus.Peer.Ping")).Err
}

// job calls a method of the manager.
func (b *Bus) job(ctx context.Context, method string, args ...any) error {
	if err := b.in(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, busPatience)
	defer cancel()
	return b.answer(ctx, b.send(ctx, busPath, busManager+"."+method, args...)).Err
}

// ErrNoUnit says that systemd knows no such unit.
var ErrNoUnit = errors.New("no such unit")

// Start asks for a unit to be started.
func (b *Bus) Start(ctx context.Context, unit string) error {
	return noUnit(b.job(ctx, "StartUnit", unit, replaceQueue))
}

// Stop asks for a unit to be stopped.
func (b *Bus) Stop(ctx context.Context, unit string) error {
	return noUnit(b.job(ctx, "StopUnit", unit, replaceQueue))
}

// Reload makes systemd read the unit files again.
func (b *Bus) Reload(ctx context.Context) error { return b.job(ctx, "Reload") }

// ResetFailed forgets how a unit has ended.
func (b *Bus) ResetFailed(ctx context.Context, unit string) error {
	return noUnit(b.job(ctx, "ResetFailedUnit", unit))
}

func noUnit(err error) error {
	var e dbus.Error
	if errors.As(err, &e) && (e.Name == busNoUnit || strings.HasSuffix(e.Name, ".NoSuchUnit")) {
		return fmt.Errorf("%w: %w", ErrNoUnit, err)
	}
	return err
}

// Wait waits until a service is as wanted, and returns its state. systemd tells
// of every change; it is asked without cause, too, ever more seldom.
func (b *Bus) Wait(ctx context.Context, unit string, done func(UnitState) bool) (UnitState, error) {
	const first, last = 50 * time.Millisecond, 30 * time.Second
	path := unitPath(unit)
	late := 0
	for pace := first; ; pace = min(2*pace, last) {
		next := b.next(path) // before asking: what changes meanwhile is not missed
		u, err := b.Unit(ctx, unit)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && late < maxLate {
			late++ // the pod has no processor time, which is no reason to end it
			continue
		}
		if err != nil || done(u) {
			return u, err
		}
		late = 0
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-next:
		case <-time.After(pace):
		}
	}
}
