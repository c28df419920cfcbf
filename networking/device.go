// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// deviceTowards is the host's device on the network of a pod: the one that
// packets to the pod leave by. The host has to have the address hostIP there,
// or nothing can be forwarded.
func deviceTowards(pod, hostIP netip.Addr) (string, error) {
	addrs, err := addresses(nil, netlink.FAMILY_V4)
	if err != nil {
		return "", fmt.Errorf("addresses of the host: %w", err)
	}
	has := map[int]bool{}
	for _, a := range addrs {
		if hostIP.IsValid() && a.IP.Equal(net.IP(hostIP.AsSlice())) {
			has[a.LinkIndex] = true
		}
	}
	if len(has) == 0 {
		return "", fmt.Errorf("cannot forward ports: no interface found with IP %v", hostIP)
	}
	routes, err := netlink.RouteGet(pod.AsSlice())
	if err != nil {
		return "", fmt.Errorf("route to the pod's address %v: %w", pod, err)
	}
	for _, r := range routes {
		if !has[r.LinkIndex] {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return "", fmt.Errorf("route to the pod's address %v: %w", pod, err)
		}
		return link.Attrs().Name, nil
	}
	return "", fmt.Errorf("cannot forward ports: no interface found with IP %v", hostIP)
}
