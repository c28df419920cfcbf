// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockets are what the service listens on.
type sockets struct {
	register net.Listener
	public   []net.Listener
	own      string // path of the registration socket, if we made it
}

func (s *sockets) close() {
	for _, l := range append(s.public, s.register) {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.own != "" {
		_ = os.Remove(s.own)
	}
}

// listen opens the sockets, or takes those that the service was started with:
// the first is for registration, more are for pods.
func (c *Config) listen(ctx context.Context) (*sockets, error) {
	s := &sockets{}
	given, err := activated(c.Getenv)
	if err != nil {
		return nil, fmt.Errorf("error getting the sockets of systemd: %w", err)
	}
	for i, l := range given {
		if i == 0 {
			s.register = l
			continue
		}
		s.public = append(s.public, l)
	}
	if err := s.check(); err != nil {
		s.close()
		return nil, err
	}
	if s.register == nil {
		if s.register, err = listenUnix(c.Files.Socket()); err != nil {
			s.close()
			return nil, fmt.Errorf("error listening on %s: %w", c.Files.Socket(), err)
		}
		s.own = c.Files.Socket()
	}
	if len(s.public) == 0 {
		if s.public, err = c.listenTCP(ctx); err != nil {
			s.close()
			return nil, fmt.Errorf("error listening on port %d: %w", c.Port, err)
		}
	}
	return s, nil
}

// check refuses sockets of another kind than is expected.
func (s *sockets) check() error {
	if s.register != nil && s.register.Addr().Network() != "unix" {
		return fmt.Errorf("the first socket of systemd is %s, not a unix socket for registration", s.register.Addr())
	}
	port := 0
	for _, l := range s.public {
		a, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return fmt.Errorf("socket of systemd: %s is not TCP", l.Addr())
		}
		if port != 0 && a.Port != port {
			return fmt.Errorf("sockets of systemd: pods are told one port, not %d and %d", port, a.Port)
		}
		port = a.Port
	}
	return nil
}

// The protocol of sd_listen_fds(3).
const (
	listenFirst = 3
	listenMost  = 64
)

// activated are the sockets that the service was started with.
func activated(getenv func(string) string) ([]net.Listener, error) {
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	pid := getenv("LISTEN_PID")
	if err != nil || n <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if n > listenMost {
		return nil, fmt.Errorf("%d sockets are too many", n)
	}
	var all []net.Listener
	for fd := listenFirst; fd < listenFirst+n; fd++ {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		if f == nil {
			return all, fmt.Errorf("descriptor %d is not open", fd)
		}
		l, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			return all, fmt.Errorf("descriptor %d: %w", fd, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		all = append(all, l)
	}
	return all, nil
}

// listenUnix makes the registration socket. The caller holds the lock of the
// service, so a socket that is there is nobody's.
func listenUnix(path string) (net.Listener, error) {
	st, err := os.Lstat(path)
	switch {
	case err == nil && st.Mode()&fs.ModeSocket == 0:
		return nil, errors.New("there is something that is not a socket")
	case err == nil:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // sockets.close does
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// listenTCP listens on the addresses that are asked for, which need not be there
// yet. Without any it listens on all; who connects is looked at (see guard).
func (c *Config) listenTCP(ctx context.Context) (all []net.Listener, err error) {
	port := c.Port
	open := func(lc net.ListenConfig, host string) error {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			return err
		}
		all = append(all, l)
		port = portOf(l)
		return nil
	}
	if len(c.Addresses) == 0 {
		return all, open(net.ListenConfig{}, "")
	}
	for _, a := range c.Addresses {
		if err := open(net.ListenConfig{Control: freeBind(a)}, a.String()); err != nil {
			for _, l := range all {
				_ = l.Close()
			}
			return nil, err
		}
	}
	return all, nil
}

func portOf(l net.Listener) uint16 {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return uint16(a.Port)
	}
	return 0
}

// freeBind allows an address that the host does not have yet: a bridge comes
// with its first pod (ip(7), IP_FREEBIND). "::" is for IPv6 alone, so that
// 0.0.0.0 can be there as well.
func freeBind(a netip.Addr) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		ctl := raw.Control(func(fd uintptr) {
			if a.Is4() {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
				return
			}
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
			}
		})
		return errors.Join(ctl, err)
	}
}
