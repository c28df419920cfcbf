// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"fmt"
	"net/netip"
)

// The protocols of ports.
const (
	TCP  = "tcp"
	UDP  = "udp"
	SCTP = "sctp"
)

// Port is a port of the host that is forwarded to a port of the pod.
type Port struct {
	// Name is that of the port in the image.
	Name  string
	Proto string
	// HostIP is the address of the host that the port is open on. The zero
	// value means all of them, IPv4 and IPv6; 0.0.0.0 and :: mean all of one
	// kind.
	HostIP            netip.Addr
	HostPort, PodPort uint16
}

// addr is the address as messages have it.
func (p Port) addr() netip.AddrPort {
	if !p.HostIP.IsValid() {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), p.HostPort)
	}
	return netip.AddrPortFrom(p.HostIP.Unmap(), p.HostPort)
}

func (p Port) check() error {
	switch {
	case p.Proto != TCP && p.Proto != UDP && p.Proto != SCTP:
		return fmt.Errorf("port %q: unknown protocol %q", p.Name, p.Proto)
	case p.HostPort == 0:
		return fmt.Errorf("port %q: no host port", p.Name)
	}
	return nil
}

// collides says whether two ports cannot be held at the same time.
func (p Port) collides(q Port) bool {
	if p.Proto != q.Proto || p.HostPort != q.HostPort {
		return false
	}
	if !p.HostIP.IsValid() || !q.HostIP.IsValid() {
		return true
	}
	a, b := p.HostIP.Unmap(), q.HostIP.Unmap()
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// Check refuses ports that cannot be ones of the same pod.
func Check(ports []Port) error {
	for i, p := range ports {
		if err := p.check(); err != nil {
			return err
		}
		for _, q := range ports[:i] {
			if p.collides(q) {
				return fmt.Errorf("port %s-%s already mapped to pod port %d", p.Proto, p.addr(), q.PodPort)
			}
		}
	}
	return nil
}
