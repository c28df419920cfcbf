// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// MaxPorts is how many ports of the host one pod may have, ranges counted out.
const MaxPorts = 4096

// Port is one port of the host that leads into the pod.
type Port struct {
	Name  appc.Name
	Proto string // tcp, udp or sctp
	// HostIP is the address of the host; the zero Addr: all of them.
	HostIP            netip.Addr
	HostPort, PodPort uint16
	// SocketActivated: the app gets a socket that somebody else listens on.
	SocketActivated bool
}

// address is HostIP as messages have it.
func (p Port) address() string {
	if !p.HostIP.IsValid() {
		return "0.0.0.0"
	}
	return p.HostIP.String()
}

// isAny tells whether the port is taken on every address. A listener on all
// IPv6 addresses takes it of IPv4 as well.
func (p Port) isAny() bool { return !p.HostIP.IsValid() || p.HostIP.IsUnspecified() }

// clashes tells whether two ports of the same number would take it from each other.
func (p Port) clashes(o Port) bool { return p.isAny() || o.isAny() || p.HostIP == o.HostIP }

// Ports pairs the forwarded ports of a pod with the ports of its apps: each
// names a port of exactly one app, or brings that of the pod along, and no two
// may take one port of the host. A range of an app's (its count) becomes as many
// ports. images holds the image manifest of each app.
func Ports(m *appc.PodManifest, images map[appc.Name]*appc.ImageManifest) ([]Port, error) {
	type key struct {
		proto string
		port  uint16
	}
	var all []Port
	taken := map[key][]Port{}
	for _, e := range m.Ports {
		first, count, err := firstPort(e, m, images)
		if err != nil {
			return nil, err
		}
		if count > uint(MaxPorts-len(all)) {
			return nil, fmt.Errorf("port name %q: a pod can have %d ports of the host", e.Name, MaxPorts)
		}
		for i := range uint16(count) {
			p := first
			p.HostPort, p.PodPort = first.HostPort+i, first.PodPort+i
			k := key{p.Proto, p.HostPort}
			for _, o := range taken[k] {
				if p.clashes(o) {
					return nil, fmt.Errorf("port %s-%s:%d already mapped to pod port %d", o.Proto, o.address(), o.HostPort, o.PodPort)
				}
			}
			taken[k] = append(taken[k], p)
			all = append(all, p)
		}
	}
	return all, nil
}

// firstPort resolves the first of the ports that e stands for, and their number.
func firstPort(e appc.ExposedPort, m *appc.PodManifest, images map[appc.Name]*appc.ImageManifest) (Port, uint, error) {
	pod, err := podPort(e, m, images)
	if err != nil {
		return Port{}, 0, err
	}
	p := Port{
		Name: e.Name, Proto: strings.ToLower(pod.Protocol),
		HostPort: uint16(e.HostPort), PodPort: uint16(pod.Port), //nolint:gosec // checked below
		SocketActivated: pod.SocketActivated,
	}
	if p.Proto != "tcp" && p.Proto != "udp" && p.Proto != "sctp" {
		return Port{}, 0, fmt.Errorf("port name %q: unrecognized protocol: %v", e.Name, pod.Protocol)
	}
	if e.HostIP != "" {
		ip, err := netip.ParseAddr(e.HostIP)
		if err != nil {
			return Port{}, 0, fmt.Errorf("port name %q: %q is not a valid IP", e.Name, e.HostIP)
		}
		p.HostIP = ip.Unmap()
	}
	count := max(pod.Count, 1)
	for _, number := range []uint{e.HostPort, pod.Port} {
		if number < 1 || number > maxPort || count-1 > maxPort-number {
			return Port{}, 0, fmt.Errorf("port name %q: %d ports from %d do not fit in 1-%d", e.Name, count, number, maxPort)
		}
	}
	return p, count, nil
}

const maxPort = 1<<16 - 1

// podPort finds the port of the pod that e leads to.
func podPort(e appc.ExposedPort, m *appc.PodManifest, images map[appc.Name]*appc.ImageManifest) (appc.Port, error) {
	if e.PodPort != nil {
		return *e.PodPort, nil
	}
	var found []appc.Port
	for _, a := range m.Apps {
		section := a.App
		if image := images[a.Name]; section == nil && image != nil {
			section = image.App
		}
		if section == nil {
			continue
		}
		for _, p := range section.Ports {
			if p.Name == e.Name {
				found = append(found, p)
			}
		}
	}
	switch len(found) {
	case 0:
		return appc.Port{}, fmt.Errorf("port name %q could not be found in any apps", e.Name)
	case 1:
		return found[0], nil
	}
	return appc.Port{}, fmt.Errorf("port name %q defined multiple apps", e.Name)
}
