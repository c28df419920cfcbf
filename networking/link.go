// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"errors"
	"fmt"
	"os"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/netns"
)

// finish does what is left to do about the interfaces of a network after its
// plugins.
func (d *driver) finish(n *netconf.Network, ifName string, r *types100.Result) error {
	if n.Types[0] == "macvlan" { // as rkt 1.30 had it
		file := "/proc/sys/net/ipv4/conf/" + ifName + "/proxy_arp"
		err := netns.In(d.netns, func() error { return os.WriteFile(file, []byte("1"), 0) })
		if err != nil {
			return fmt.Errorf("proxy ARP: %w", err)
		}
	}
	if !slices.ContainsFunc(r.IPs, func(ip *types100.IPConfig) bool { return ip.Address.IP.To4() == nil }) {
		return nil
	}
	return eachHostLink(r, settle)
}

// addresses lists addresses, of one interface or of all. While others change
// theirs the kernel may give an incomplete list, and says so.
func addresses(l netlink.Link, family int) ([]netlink.Addr, error) {
	const attempts = 100
	var addrs []netlink.Addr
	err := error(netlink.ErrDumpInterrupted)
	for i := 0; i < attempts && errors.Is(err, netlink.ErrDumpInterrupted); i++ {
		addrs, err = netlink.AddrList(l, family)
	}
	return addrs, err
}

// eachHostLink calls fn with each interface of a result that is on the host.
func eachHostLink(r *types100.Result, fn func(netlink.Link) error) error {
	for _, i := range r.Interfaces {
		if i.Sandbox != "" {
			continue
		}
		l, err := netlink.LinkByName(i.Name)
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			continue // a plugin may name what it likes
		}
		if err != nil {
			return fmt.Errorf("interface %s of the host: %w", i.Name, err)
		}
		if err := fn(l); err != nil {
			return fmt.Errorf("interface %s of the host: %w", i.Name, err)
		}
	}
	return nil
}

// settle ends the search for duplicates of the IPv6 addresses that an interface
// has got: until it is over, a second or two, the host does not answer for them,
// and the first packets of the pod are lost.
func settle(l netlink.Link) error {
	addrs, err := addresses(l, netlink.FAMILY_V6)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_TENTATIVE == 0 || a.IP.IsLinkLocalUnicast() {
			continue
		}
		again := netlink.Addr{IPNet: a.IPNet, Flags: unix.IFA_F_NODAD, Scope: a.Scope}
		if err := netlink.AddrDel(l, &netlink.Addr{IPNet: a.IPNet}); err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, &again); err != nil {
			return err
		}
	}
	return nil
}

// setHairpin lets a pod on a bridge reach itself by a forwarded port: where
// bridges pass packets through the firewall, the answer to such a connection
// leaves by the port of the bridge that it came in by.
func setHairpin(r *types100.Result) error {
	return eachHostLink(r, func(l netlink.Link) error {
		if l.Attrs().MasterIndex == 0 {
			return nil
		}
		master, err := netlink.LinkByIndex(l.Attrs().MasterIndex)
		if err != nil || master.Type() != "bridge" {
			return err
		}
		return netlink.LinkSetHairpin(l, true)
	})
}
