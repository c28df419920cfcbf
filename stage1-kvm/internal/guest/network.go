// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// configure moves the network cards into the pod's namespace, and gives them
// there what the networks of the host have given the pod.
func configure(path string, all []agent.Interface) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	for _, i := range all {
		link, err := byMAC(i.MAC)
		if err != nil {
			return fmt.Errorf("network card %s: %w", i.Name, err)
		}
		if err := netlink.LinkSetNsFd(link, int(ns.Fd())); err != nil {
			return fmt.Errorf("move the network card %s: %w", i.Name, err)
		}
	}
	return netns.In(path, func() error {
		for _, i := range all {
			if err := bringUp(i); err != nil {
				return fmt.Errorf("network card %s: %w", i.Name, err)
			}
		}
		for _, i := range all { // a gateway may be behind another card
			if err := addRoutes(i); err != nil {
				return fmt.Errorf("network card %s: %w", i.Name, err)
			}
		}
		return nil
	})
}

func byMAC(mac string) (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if l.Attrs().HardwareAddr.String() == mac {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the machine has none with the address %s", mac)
}

func bringUp(i agent.Interface) error {
	link, err := byMAC(i.MAC)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetName(link, i.Name); err != nil {
		return fmt.Errorf("name it: %w", err)
	}
	// Addresses of IPv6 are the host's to check for duplicates: it has.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+i.Name+"/accept_dad", []byte("0"), 0)
	if i.MTU > 0 {
		if err := netlink.LinkSetMTU(link, i.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", i.MTU, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, p := range i.Addresses {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, a); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

func addRoutes(i agent.Interface) error {
	link, err := byMAC(i.MAC)
	if err != nil {
		return err
	}
	for _, direct := range []bool{true, false} { // a gateway is reached by one of the first
		for _, r := range i.Routes {
			if r.Gateway.IsValid() == direct {
				continue
			}
			route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.Dst), Priority: r.Metric}
			if r.Gateway.IsValid() {
				route.Gw = r.Gateway.AsSlice()
			} else {
				route.Scope = netlink.SCOPE_LINK
			}
			if err := netlink.RouteReplace(route); err != nil {
				return fmt.Errorf("route to %s: %w", r.Dst, err)
			}
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
