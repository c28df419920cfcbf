// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/stage1/internal/units"
)

// activation are the sockets that rkt was started with, and those of them that
// go on to the pod. The zero value is none.
type activation struct {
	sockets []podplan.Socket
	files   []*os.File // of sockets, in the same order
	wanted  []bool     // likewise
}

// The protocol of sd_listen_fds(3).
const (
	listenPID   = "LISTEN_PID"
	listenFDs   = "LISTEN_FDS"
	listenNames = "LISTEN_FDNAMES"
	listenFirst = 3
	listenMost  = 1024
)

// takeActivation takes the sockets that are meant for this process, and sees to
// it that no other program gets them by accident.
func takeActivation() activation {
	var a activation
	mine := os.Getenv(listenPID) == strconv.Itoa(os.Getpid())
	n, err := strconv.Atoi(os.Getenv(listenFDs))
	for _, name := range []string{listenPID, listenFDs, listenNames} {
		_ = os.Unsetenv(name)
	}
	if !mine || err != nil || n > listenMost {
		return a
	}
	for fd := listenFirst; fd < listenFirst+n; fd++ {
		unix.CloseOnExec(fd)
		if s, ok := socketOf(fd); ok {
			a.sockets = append(a.sockets, s)
			a.files = append(a.files, os.NewFile(uintptr(fd), "socket "+s.Addr.String()))
		}
	}
	a.wanted = make([]bool, len(a.sockets))
	return a
}

// socketOf tells what a descriptor is, if that is a socket apps can be given: of
// IP, listening or a datagram one.
func socketOf(fd int) (podplan.Socket, bool) {
	option := func(name int) int {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
		if err != nil {
			return -1
		}
		return v
	}
	var s podplan.Socket
	switch kind := option(unix.SO_TYPE); {
	case kind == unix.SOCK_STREAM && option(unix.SO_ACCEPTCONN) == 1:
		s.Proto = "tcp"
	case kind == unix.SOCK_DGRAM:
		s.Proto = "udp"
	default:
		return s, false
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return s, false
	}
	switch sa := name.(type) {
	case *unix.SockaddrInet4:
		s.Addr = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)) //nolint:gosec // a port
	case *unix.SockaddrInet6:
		s.Addr = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)) //nolint:gosec // a port
	default:
		return s, false
	}
	return s, true
}

// writeSocket writes the unit of an app's socket-activated ports, if it has
// some. The sockets it names are passed on.
func (p *pod) writeSocket(name string, a *activation) (bool, error) {
	if p.call.Mutable {
		return false, nil // systemd cannot be given sockets later
	}
	listeners, warnings, err := p.apps[name].plan.Listeners(p.manifest.Ports, a.sockets)
	if err != nil {
		return false, fmt.Errorf("app %q: %w", name, err)
	}
	for _, w := range warnings {
		say("%s", w)
	}
	if len(listeners) == 0 {
		return false, nil
	}
	u := units.Socket{App: name}
	for _, l := range listeners {
		u.Listen = append(u.Listen, units.Listen{Datagram: l.Proto == "udp", Addr: l.Addr})
		if i := slices.Index(a.sockets, podplan.Socket(l)); i >= 0 {
			a.wanted[i] = true
		}
	}
	file := units.SocketUnit(name)
	if err := p.write(filepath.Join(units.Dir, file), []byte(u.Unit()), 0o644); err != nil {
		return false, err
	}
	if err := p.s1.MkdirAll(units.SocketsDir, 0o755); err != nil {
		return false, fmt.Errorf("make %s in stage1: %w", units.SocketsDir, err)
	}
	err = p.s1.Symlink("../"+file, filepath.Join(units.SocketsDir, file))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return true, nil
}

// pass gives systemd-nspawn the sockets that some app wants. Only the process
// itself knows the number that it has to find in its environment: a helper that
// becomes systemd-nspawn puts it there.
func (a *activation) pass(cmd *exec.Cmd) {
	for i, f := range a.files {
		if a.wanted[i] {
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
	}
	if n := len(cmd.ExtraFiles); n > 0 {
		cmd.Env = append(cmd.Env, listenFDs+"="+strconv.Itoa(n))
		cmd.Args = append([]string{ListenName, cmd.Path}, cmd.Args...)
		cmd.Path = "/proc/self/exe"
	}
}

// close closes the sockets of this process: who listens is up to the app and
// to whoever started rkt.
func (a *activation) close() {
	for _, f := range a.files {
		_ = f.Close()
	}
	a.files = nil
}

// ListenName is what the helper calls itself that becomes a program with
// sockets.
const ListenName = "with-sockets"

// Listen becomes the program argv[1], called by argv[2:], to which the
// descriptors from 3 on belong.
func Listen(argv []string) error {
	if len(argv) < 3 {
		return errors.New("called by hand")
	}
	env := append(os.Environ(), listenPID+"="+strconv.Itoa(os.Getpid()))
	if err := unix.Exec(argv[1], argv[2:], env); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", &os.PathError{Op: "execve", Path: argv[1], Err: err})
	}
	return nil
}
