// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Held are the sockets that hold ports. Its methods may be called from several
// goroutines.
type Held struct {
	listeners []listener
	files     []*os.File
	later     []Port // on addresses that the host does not have yet

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // set by Serve
	wg     sync.WaitGroup
}

// listener is a TCP socket that holds a port.
type listener struct {
	*net.TCPListener
	port Port
	v6   bool
}

// TakenError says that somebody else has a port. It wraps EADDRINUSE.
type TakenError struct {
	Proto string
	Addr  netip.AddrPort
	// Holder is who has it, for people.
	Holder string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("port %s %s is already in use by %s", e.Proto, e.Addr, e.Holder)
}

// Unwrap makes it testable for EADDRINUSE.
func (e *TakenError) Unwrap() error { return unix.EADDRINUSE }

// Reserve holds ports, all of them or none. Where the kernel has no SCTP there is
// nothing to hold for it. The error of a port that is in use is a *TakenError.
// Ports on addresses that the host does not have are left to Complete: they may
// come with the pod's network.
func Reserve(ports []Port) (*Held, error) {
	if err := Check(ports); err != nil {
		return nil, err
	}
	h := &Held{}
	for _, p := range ports {
		err := h.reserve(p)
		if p.HostIP.IsValid() && errors.Is(err, unix.EADDRNOTAVAIL) {
			h.later = append(h.later, p)
			continue
		}
		if err != nil {
			h.Close()
			return nil, err
		}
	}
	return h, nil
}

// Complete holds what Reserve could not, now that the networks are there. It is
// called before Serve.
func (h *Held) Complete() error {
	for _, p := range h.later {
		if err := h.reserve(p); err != nil {
			return err
		}
	}
	h.later = nil
	return nil
}

func (h *Held) reserve(p Port) error {
	if err := h.hold(p, p.addr()); err != nil || p.HostIP.IsValid() {
		return err
	}
	err := h.hold(p, netip.AddrPortFrom(netip.IPv6Unspecified(), p.HostPort))
	if isNoIPv6(err) {
		return nil
	}
	return err
}

// isNoIPv6 tells that the kernel has no IPv6, or none in this namespace.
func isNoIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// hold holds one address of a port.
func (h *Held) hold(p Port, addr netip.AddrPort) error {
	var err error
	switch p.Proto {
	case TCP:
		err = h.listen(p, addr)
	case UDP:
		err = h.bind(addr, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	case SCTP:
		err = h.bind(addr, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
			return nil
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EADDRINUSE):
		return &TakenError{p.Proto, addr, holder("/proc", p.Proto, addr)}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("port %s %s: the host has no such address: %w", p.Proto, addr, unix.EADDRNOTAVAIL)
	}
	return fmt.Errorf("port %s %s: %w", p.Proto, addr, err)
}

// listen holds a TCP port. Package net sets SO_REUSEADDR, so that connections in
// TIME_WAIT do not matter, and IPV6_V6ONLY on sockets that are for tcp6.
// Multipath TCP is off, since what rules take away is not asked for it either,
// and since the kernel splices from and to plain sockets only.
func (h *Held) listen(p Port, addr netip.AddrPort) error {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), network, addr.String())
	if err != nil {
		if errno, ok := errors.AsType[unix.Errno](err); ok {
			return errno
		}
		return err
	}
	h.listeners = append(h.listeners, listener{l.(*net.TCPListener), p, addr.Addr().Is6()})
	return nil
}

// bind holds a port of another protocol. The socket is not known to Go's
// poller: nobody waits for it.
func (h *Held) bind(addr netip.AddrPort, typ, proto int) error {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "port "+addr.String())
	if err := bindSocket(fd, addr); err != nil {
		return errors.Join(err, f.Close())
	}
	h.files = append(h.files, f)
	return nil
}

func bindSocket(fd int, addr netip.AddrPort) error {
	if err := deafen(fd); err != nil {
		return err
	}
	sa, err := sockaddr(addr)
	if err != nil {
		return err
	}
	if addr.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, sa)
}

// deafen makes the kernel drop what arrives, by a filter that takes no byte of
// any packet. The receive buffer is as small as the kernel has it.
func deafen(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		return err
	}
	none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none})
}

func sockaddr(addr netip.AddrPort) (unix.Sockaddr, error) {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if zone := addr.Addr().Zone(); zone != "" {
		dev, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(dev.Index)
	}
	return sa, nil
}

// Close gives the ports back and ends the connections that are passed on. It may
// be called more than once.
func (h *Held) Close() {
	h.mu.Lock()
	h.closed = true
	if h.cancel != nil {
		h.cancel()
	}
	h.mu.Unlock()
	for _, l := range h.listeners {
		_ = l.Close()
	}
	for _, f := range h.files {
		_ = f.Close()
	}
	h.wg.Wait()
}
