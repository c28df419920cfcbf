// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Socket is a listening (TCP) or bound (UDP) socket that rkt was started with
// (sd_listen_fds(3)).
type Socket struct {
	Proto string // tcp or udp
	Addr  netip.AddrPort
}

// serves tells whether the socket is what p stands for.
func (s Socket) serves(p Port) bool {
	ip := s.Addr.Addr().Unmap()
	return s.Proto == p.Proto && s.Addr.Port() == p.HostPort &&
		(p.isAny() || ip.IsUnspecified() || ip == p.HostIP)
}

// Forwarded are the ports that connections have to be forwarded for: not those
// that a socket is there for already.
func Forwarded(ports []Port, passed []Socket) []Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p Port) bool {
		return p.SocketActivated && slices.ContainsFunc(passed, func(s Socket) bool { return s.serves(p) })
	})
}

// Listener is a socket that systemd has ready for an app.
type Listener struct {
	Proto string
	// Addr is that of the socket that was passed; without one only the port
	// counts, and systemd makes the socket in the network of the pod.
	Addr netip.AddrPort
}

// Listeners are the sockets of the app's socket-activated ports. A port of the
// host that rkt has a socket for is served by that one. Otherwise systemd
// listens on the app's own port, where connections are forwarded to. A warning
// is a line for the person.
func (a *App) Listeners(forwards []appc.ExposedPort, passed []Socket) (all []Listener, warnings []string, err error) {
	for _, port := range a.App.Ports {
		if !port.SocketActivated {
			continue
		}
		if port.Protocol != "tcp" && port.Protocol != "udp" {
			return nil, nil, fmt.Errorf("unrecognized protocol: %v", port.Protocol)
		}
		mine := slices.DeleteFunc(slices.Clone(forwards), func(e appc.ExposedPort) bool {
			return e.Name != port.Name || e.PodPort != nil
		})
		if len(mine) == 0 {
			warnings = append(warnings, fmt.Sprintf("warning: no --port option for socket-activated port %q, assuming port %d as specified in the manifest", port.Name, port.Port))
			mine = []appc.ExposedPort{{Name: port.Name, HostPort: port.Port}}
		}
		m := &appc.PodManifest{}
		for _, e := range mine {
			e.PodPort = &port
			m.Ports = append(m.Ports, e)
		}
		ports, err := Ports(m, nil)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range ports {
			all = append(all, p.listeners(passed)...)
		}
	}
	slices.SortFunc(all, Listener.compare)
	return slices.Compact(all), warnings, nil
}

func (p Port) listeners(passed []Socket) (all []Listener) {
	for _, s := range passed {
		if s.serves(p) {
			all = append(all, Listener(s))
		}
	}
	if len(all) == 0 {
		all = append(all, Listener{p.Proto, netip.AddrPortFrom(netip.Addr{}, p.PodPort)})
	}
	return all
}

// compare orders listeners by protocol, port and address.
func (l Listener) compare(o Listener) int {
	return cmp.Or(cmp.Compare(l.Proto, o.Proto), cmp.Compare(l.Addr.Port(), o.Addr.Port()), l.Addr.Addr().Compare(o.Addr.Addr()))
}
