// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// verb is what a rule does with the packets it matches.
type verb string

const (
	nothing    verb = "continue" // what a rule for its comment does
	goBack     verb = "return"
	drop       verb = "drop"
	masquerade verb = "masquerade"
	dnat       verb = "dnat"
	jump       verb = "jump"
)

// rule is one rule as data. Zero fields match everything.
type rule struct {
	Comment    string
	Src, Dst   netip.Prefix
	NotDst     bool // all but Dst
	NotLo      bool // came in over another link than lo
	Local      bool // to an address of the host
	Translated bool // of a connection whose destination was translated
	Proto      string
	Port       uint16 // destination
	Do         verb
	To         netip.AddrPort // of dnat
	Chain      string         // of jump
}

// String is the rule in the words of nft.
func (r rule) String() string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if r.NotLo {
		add(`iif != "lo"`)
	}
	if r.Local {
		add("fib daddr type local")
	}
	if r.Translated {
		add("ct status dnat")
	}
	if r.Src.IsValid() {
		add("%s saddr %s", family(r.Src), r.Src)
	}
	if r.Dst.IsValid() {
		not := ""
		if r.NotDst {
			not = "!= "
		}
		add("%s daddr %s%s", family(r.Dst), not, r.Dst)
	}
	if r.Proto != "" {
		add("%s dport %d", r.Proto, r.Port)
	}
	switch r.Do {
	case dnat:
		add("dnat to %s", r.To)
	case jump:
		add("jump %s", r.Chain)
	default:
		add("%s", r.Do)
	}
	if r.Comment != "" {
		add("comment %s", r.Comment)
	}
	return strings.Join(w, " ")
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ip"
	}
	return "ip6"
}

func protoNumber(proto string) byte {
	switch proto {
	case "tcp":
		return unix.IPPROTO_TCP
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	}
	return 0
}

// multicast is the range of the family that is never masqueraded.
func multicast(v6 bool) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4)
}

// loopback is what 127.0.0.1 and its like are in.
func loopback() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

// rules are those for packets from the address.
func (m Masquerade) rules() []rule {
	return []rule{
		{Comment: "within the network", Dst: m.Addr.Masked(), Do: goBack},
		{Comment: "to elsewhere", Dst: multicast(m.Addr.Addr().Is6()), NotDst: true, Do: masquerade},
	}
}

// dnat is the rule that leads the port to the pod.
func (f Forward) dnat() rule {
	r := rule{Comment: f.comment(), Proto: f.Proto, Port: f.HostPort, Do: dnat, To: netip.AddrPortFrom(f.To, f.PodPort)}
	switch {
	case f.HostIP.IsValid():
		r.Dst = single(f.HostIP)
	case f.To.Is6():
		r.Dst, r.NotDst = single(netip.IPv6Loopback()), true
	}
	return r
}

// snat are the rules for translated connections whose answers would not come
// back to the host by themselves: from its loopback address, which the pod
// would answer on its own, and from the pod's subnet.
func (f Forward) snat() []rule {
	from := func(src netip.Prefix, what string) rule {
		return rule{
			Comment: fmt.Sprintf("%s %s to %s", f.Proto, what, netip.AddrPortFrom(f.To, f.PodPort)),
			Src:     src, Dst: single(f.To), Proto: f.Proto, Port: f.PodPort, Do: masquerade,
		}
	}
	hairpin := from(f.Subnet, "from "+f.Subnet.String())
	if f.To.Is6() {
		return []rule{hairpin}
	}
	return []rule{from(loopback(), "from loopback"), hairpin}
}

// comment says which forward it is, and the name of the port if there is room.
func (f Forward) comment() string {
	if s := f.String() + ", port " + quoted(f.Name); f.Name != "" && len(s) <= maxComment {
		return s
	}
	return f.String()
}

// guard are the rules that keep neighbours from the host's loopback addresses,
// which route_localnet opens to them. They look at packets as they come in:
// answers to translated connections get a loopback address only later.
func guard() []rule {
	const comment = "loopback addresses are for lo"
	return []rule{
		{Comment: comment, NotLo: true, Dst: loopback(), Do: drop},
		{Comment: comment, NotLo: true, Src: loopback(), Do: drop},
	}
}
