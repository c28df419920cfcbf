// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// link is one network of a pod.
type link struct {
	addrs   []netip.Addr // of the pod
	gateway []netip.Addr // of the host
}

// readLinks are the networks that stage1 has recorded: not nil once there is a
// record. A pod with the host's network never has one.
func readLinks(p *pod.Pod) []link {
	nets, err := netinfo.Read(filepath.Join(p.Path(), poddir.NetInfo))
	if err != nil {
		return nil
	}
	links := []link{}
	for _, n := range nets {
		links = append(links, newLink(n))
	}
	return links
}

func newLink(n netinfo.Network) (l link) {
	for _, s := range append(slices.Clone(n.IPs), n.IP) {
		prefix, err := netip.ParsePrefix(s)
		addr := prefix.Addr()
		if err != nil {
			addr, err = netip.ParseAddr(s)
		}
		if err == nil {
			l.addrs = append(l.addrs, addr.Unmap())
		}
	}
	for _, g := range gatewaysOf(n) {
		if addr, err := netip.ParseAddr(g); err == nil {
			l.gateway = append(l.gateway, addr.Unmap())
		}
	}
	return l
}

// mayAskFrom tells whether the pod can be who asks from an address. A pod of
// the host's network asks from loopback, where the service is for it.
func (g *registration) mayAskFrom(from netip.Addr) bool {
	switch {
	case g.dataDir == "":
		return true // nothing is known about it
	case len(g.links) == 0:
		return from.IsLoopback()
	}
	return slices.ContainsFunc(g.links, func(l link) bool { return slices.Contains(l.addrs, from) })
}

// connects tells whether one of the pods reaches the host by its gateway.
func (g *registration) connects(local, remote netip.Addr) bool {
	return slices.ContainsFunc(g.links, func(l link) bool {
		return slices.Contains(l.gateway, local) && slices.Contains(l.addrs, remote)
	})
}

// gatewaysOf are the gateways of a network: the recorded one, which is IPv4, and
// those of what its plugin answered (CNI 1.0.0).
func gatewaysOf(n netinfo.Network) []string {
	var result struct {
		IPs []struct {
			Gateway string `json:"gateway"`
		} `json:"ips"`
	}
	if len(n.Result) > 0 && json.Unmarshal(n.Result, &result) != nil {
		return []string{n.Gateway}
	}
	all := []string{n.Gateway}
	for _, ip := range result.IPs {
		all = append(all, ip.Gateway)
	}
	return all
}
