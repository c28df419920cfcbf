// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// card is a network card of the machine: a tap, and what the guest sets up.
type card struct {
	tap *os.File
	as  agent.Interface
}

// makeCards gives the machine a card for each interface that a plugin has made
// in the calling thread's network namespace. Frames go from one to the other
// and back by two rules of the kernel's traffic control, whatever the type of
// the network is. The interface keeps its addresses, for whoever looks there,
// but sees no frame itself.
func (n *network) makeCards() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Attrs().Name == "lo" || len(l.Attrs().HardwareAddr) != 6 || l.Type() == "tun" {
			continue
		}
		c, err := makeCard(l, len(n.cards))
		if err != nil {
			return fmt.Errorf("interface %s: %w", l.Attrs().Name, err)
		}
		n.cards = append(n.cards, c)
	}
	return nil
}

func makeCard(l netlink.Link, i int) (card, error) {
	as, err := describe(l)
	if err != nil {
		return card{}, err
	}
	name := "rkt-tap" + strconv.Itoa(i)
	tap, err := openTap(name)
	if err != nil {
		return card{}, fmt.Errorf("tap: %w", err)
	}
	c := card{tap: tap, as: as}
	t, err := netlink.LinkByName(name)
	if err != nil {
		return card{}, errors.Join(err, tap.Close())
	}
	// Of no use on the tap: the kernel would send router solicitations.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	err = errors.Join(netlink.LinkSetMTU(t, as.MTU), netlink.LinkSetUp(t), redirect(l, t), redirect(t, l))
	if err != nil {
		return card{}, errors.Join(err, tap.Close())
	}
	return c, nil
}

// openTap makes a tap that lives as long as its descriptor.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// redirect sends out through to whatever arrives at from.
func redirect(from, to netlink.Link) error {
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: from.Attrs().Index, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := netlink.QdiscAdd(ingress); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("traffic control: %w (does the kernel have sch_ingress?)", err)
	}
	all := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: from.Attrs().Index, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		RedirIndex: to.Attrs().Index,
	}
	if err := netlink.FilterAdd(all); err != nil {
		return fmt.Errorf("traffic control: %w (does the kernel have cls_u32 and act_mirred?)", err)
	}
	return nil
}

// describe notes what a plugin has given an interface.
func describe(l netlink.Link) (agent.Interface, error) {
	a := l.Attrs()
	i := agent.Interface{Name: a.Name, MAC: a.HardwareAddr.String(), MTU: a.MTU}
	addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return i, err
	}
	for _, addr := range addresses {
		ip, ok := netip.AddrFromSlice(addr.IP)
		bits, _ := addr.Mask.Size()
		if ok && !ip.Is6() || ok && !ip.IsLinkLocalUnicast() {
			i.Addresses = append(i.Addresses, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	routes, err := netlink.RouteList(l, netlink.FAMILY_ALL)
	if err != nil {
		return i, err
	}
	for _, r := range routes {
		if route, ok := describeRoute(r); ok {
			i.Routes = append(i.Routes, route)
		}
	}
	return i, nil
}

// describeRoute leaves out what an address brings with it.
func describeRoute(r netlink.Route) (route agent.Route, ok bool) {
	if r.Protocol == unix.RTPROT_KERNEL || r.Type != unix.RTN_UNICAST {
		return route, false
	}
	if gw, isIP := netip.AddrFromSlice(r.Gw); isIP {
		route.Gateway = gw.Unmap()
	}
	dst, isIP := netip.Addr{}, false
	bits := 0
	if r.Dst != nil {
		dst, isIP = netip.AddrFromSlice(r.Dst.IP)
		dst = dst.Unmap()
		bits, _ = r.Dst.Mask.Size()
	}
	if !isIP {
		dst, bits = netip.IPv4Unspecified(), 0
		if r.Family == unix.AF_INET6 || route.Gateway.Is6() {
			dst = netip.IPv6Unspecified()
		}
	}
	route.Dst, route.Metric = netip.PrefixFrom(dst, bits), r.Priority
	return route, true
}
