// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Masquerade hides a pod's address behind the host's, except from its subnet
// and for multicast.
type Masquerade struct {
	Network string
	Addr    netip.Prefix // the pod's address with the length of its subnet
}

// Forward leads a port of the host to one of the pod.
type Forward struct {
	Name  string // of the port, for comments only
	Proto string // tcp, udp or sctp
	// HostIP is the local address that answers. Zero means any of the family
	// of To; 0.0.0.0 and :: mean any, and no rule when To is of the other
	// family. Connections to ::1 get no rule, since no packet leaves the host
	// with that source: they reach whoever listens on the host's port.
	HostIP            netip.Addr
	HostPort, PodPort uint16
	To                netip.Addr
	Subnet            netip.Prefix // the pod's, whose members reach the port as well; zero: the pod alone
}

// Pod is what one pod needs.
type Pod struct {
	ID          string
	Masquerades []Masquerade
	Forwards    []Forward
}

// Backend is a way to get rules into the kernel.
type Backend interface {
	// Name is "nftables" or "iptables".
	Name() string
	// Add puts the rules of the pod in force, all or none, beside those that
	// the ID has already.
	Add(Pod) error
	// Warnings says what the last Add could not do and a person should know.
	Warnings() []string
	// RemoveNetwork ends the masquerading of one network of the ID.
	RemoveNetwork(id, network string) error
	// Remove ends everything of the ID. Nothing there is fine.
	Remove(id string) error
	// Missing says in words what of the pod is not in force.
	Missing(Pod) ([]string, error)
	// IDs lists every ID that has rules, sorted.
	IDs() ([]string, error)
	// Tidy removes what all pods share, unless some ID has rules.
	Tidy() error
}

// Open chooses nf_tables where the kernel has it, iptables otherwise. A
// backend may be used from any thread and works on the network namespace of
// the one that calls; it is for one goroutine at a time.
func Open() (Backend, error) {
	nftErr := probeNft()
	if nftErr == nil {
		return newNft(), nil
	}
	x, err := newXtables(lockPath)
	if err != nil {
		return nil, fmt.Errorf("no firewall to use: nf_tables: %w; iptables: %w: load the kernel module nf_tables or install the package iptables", nftErr, err)
	}
	return x, nil
}

const (
	maxID      = 512
	maxNetwork = 256
)

// check refuses what no rule can be made of, and returns the pod with its
// addresses in one form and without forwards that no rule is made of.
func (p Pod) check() (Pod, error) {
	if p.ID == "" || len(p.ID) > maxID {
		return Pod{}, fmt.Errorf("id %q is empty or longer than %d bytes", p.ID, maxID)
	}
	out := Pod{ID: p.ID}
	for _, m := range p.Masquerades {
		if len(m.Network) > maxNetwork {
			return Pod{}, fmt.Errorf("network name %q is longer than %d bytes", m.Network, maxNetwork)
		}
		if !m.Addr.IsValid() || m.Addr.Addr().Is4In6() || !usable(m.Addr.Addr()) {
			return Pod{}, fmt.Errorf("masquerade for network %q: %s is no address of a pod", m.Network, m.Addr)
		}
		if !slices.Contains(out.Masquerades, m) {
			out.Masquerades = append(out.Masquerades, m)
		}
	}
	for _, f := range p.Forwards {
		f, skip, err := f.check()
		if err != nil {
			return Pod{}, fmt.Errorf("forward port %q: %w", f.Name, err)
		}
		if !skip {
			out.Forwards = append(out.Forwards, f)
		}
	}
	return out, nil
}

func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.Zone() == ""
}

func (f Forward) check() (_ Forward, skip bool, err error) {
	f.To, f.HostIP = f.To.Unmap(), f.HostIP.Unmap()
	switch {
	case protoNumber(f.Proto) == 0:
		return f, false, fmt.Errorf("invalid protocol %q", f.Proto)
	case f.HostPort == 0 || f.PodPort == 0:
		return f, false, errors.New("port 0")
	case !usable(f.To):
		return f, false, fmt.Errorf("%s is no address of a pod", f.To)
	}
	if f.HostIP.IsValid() && f.HostIP.Is4() != f.To.Is4() {
		if f.HostIP.IsUnspecified() {
			return f, true, nil
		}
		return f, false, fmt.Errorf("host address %s and pod address %s are of different families", f.HostIP, f.To)
	}
	if f.HostIP == netip.IPv6Loopback() {
		return f, true, nil
	}
	if f.HostIP.IsMulticast() || f.HostIP.Zone() != "" {
		return f, false, fmt.Errorf("%s is no address of the host", f.HostIP)
	}
	if !f.HostIP.IsValid() || f.HostIP.IsUnspecified() {
		f.HostIP = netip.Addr{}
	}
	if !f.Subnet.IsValid() || f.Subnet.Addr().Is4() != f.To.Is4() {
		f.Subnet = single(f.To)
	}
	f.Subnet = f.Subnet.Masked()
	return f, false, nil
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// String is how comments and complaints name a forward.
func (f Forward) String() string {
	host := f.HostIP
	if !host.IsValid() {
		host = netip.IPv4Unspecified()
		if f.To.Is6() {
			host = netip.IPv6Unspecified()
		}
	}
	return fmt.Sprintf("%s %s to %s", f.Proto, netip.AddrPortFrom(host, f.HostPort), netip.AddrPortFrom(f.To, f.PodPort))
}

// addresses are those of the pod, each with the comment of what it is for.
func (p Pod) addresses() []addressed {
	var out []addressed
	seen := map[addressed]bool{}
	add := func(a addressed) {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	for _, m := range p.Masquerades {
		add(addressed{m.Addr.Addr(), networkComment(m.Network, p.ID)})
	}
	for _, f := range p.Forwards {
		add(addressed{f.To, idComment(p.ID)})
	}
	return out
}

type addressed struct {
	addr    netip.Addr
	comment string
}
