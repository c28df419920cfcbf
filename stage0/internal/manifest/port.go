// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
)

const anyIP = "0.0.0.0"

// isAny tells whether ip stands for all addresses. A listener on all IPv6
// addresses takes the port of IPv4 as well.
func isAny(ip string) bool { return ip == anyIP || ip == "::" }

// mapping is one forwarded port of the host.
type mapping struct {
	protocol string
	ip       string
	hostPort uint
	podPort  uint
}

// clashes tells whether both would listen on the same port of the host.
func (m mapping) clashes(o mapping) bool {
	return m.protocol == o.protocol && m.hostPort == o.hostPort &&
		(isAny(m.ip) || isAny(o.ip) || m.ip == o.ip)
}

// checkPorts pairs the pod's forwarded ports with the ports of its apps: each
// must name a port of exactly one app, and no two may use one port of the host.
func checkPorts(ports []appc.ExposedPort, apps []*appc.App) error {
	var mappings []mapping
	for _, e := range ports {
		port, err := podPort(e, apps)
		if err != nil {
			return err
		}
		m := mapping{protocol: port.Protocol, ip: e.HostIP, hostPort: e.HostPort, podPort: port.Port}
		if m.ip == "" {
			m.ip = anyIP
		}
		for _, o := range mappings {
			if m.clashes(o) {
				return fmt.Errorf("port %s-%s:%d already mapped to pod port %d", o.protocol, o.ip, o.hostPort, o.podPort)
			}
		}
		mappings = append(mappings, m)
	}
	return nil
}

// podPort finds the port of the pod that e forwards to.
func podPort(e appc.ExposedPort, apps []*appc.App) (appc.Port, error) {
	if e.PodPort != nil {
		return *e.PodPort, nil
	}
	var found []appc.Port
	for _, app := range apps {
		for _, p := range app.Ports {
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
