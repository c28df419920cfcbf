// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/stage1/internal/wire"
)

// ttyGroup owns terminals by convention, 5 on every distribution.
const (
	ttyGroup = 5
	ttyMode  = 0o620
)

// connect gets the standard streams: pipes or /dev/null of the supervisor's,
// and the slave side of a new terminal where the profile asks for one.
func (s *start) connect() error {
	st := s.prof.Start
	var master, slave *os.File
	var err error
	if st.TTY && s.kind == wire.Start {
		if master, slave, err = s.terminal(); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		defer func() { _ = slave.Close() }()
		defer func() { _ = master.Close() }()
	}
	var send []*os.File
	if master != nil {
		send = append(send, master)
	}
	files, err := wire.Ask("/"+wire.Socket, wire.Request{Kind: s.kind, App: s.prof.App, PID: os.Getpid()}, dialSystemd, send...)
	if err != nil {
		return err
	}
	if len(files) != 3 {
		return errors.New("the supervisor of the pod has sent other descriptors than the standard streams")
	}
	for fd, f := range files {
		source := f
		if slave != nil && isTTY(st.Streams[fd]) {
			source = slave
		}
		if err := unix.Dup3(int(source.Fd()), fd, 0); err != nil {
			return fmt.Errorf("standard stream %d: %w", fd, err)
		}
		_ = f.Close()
	}
	s.streams = true
	if slave == nil {
		return nil
	}
	return control(slave)
}

func isTTY(mode string) bool { return mode == "tty" || mode == "interactive" }

// control makes the terminal the controlling one of this session.
func control(slave *os.File) error {
	if _, err := unix.Setsid(); err != nil && !errors.Is(err, unix.EPERM) { // EPERM: leader already
		return fmt.Errorf("start a session: %w", err)
	}
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("make the terminal the controlling one: %w", err)
	}
	return nil
}

// terminal opens a pair in the pod's devpts, the slave side the app's own.
func (s *start) terminal() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/pts/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "/dev/pts/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("unlock: %w", err), master.Close())
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("name: %w", err), master.Close())
	}
	name := "/dev/pts/" + strconv.Itoa(n)
	sfd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, errors.Join(&os.PathError{Op: "open", Path: name, Err: err}, master.Close())
	}
	slave = os.NewFile(uintptr(sfd), name)
	if err := errors.Join(unix.Fchown(sfd, s.prof.UID, ttyGroup), unix.Fchmod(sfd, ttyMode)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("owner of %s: %w", name, err), master.Close(), slave.Close())
	}
	return master, slave, nil
}

// dialSystemd connects to the systemd that has started this process.
func dialSystemd() (*os.File, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "/run/systemd/private", Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("reach systemd: %w", err)
	}
	defer func() { _ = c.Close() }()
	return c.File()
}
