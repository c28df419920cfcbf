// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

const (
	xtChainLimit = 28
	dnatPrefix   = "RKT-PFWD-DNAT-"
	snatPrefix   = "RKT-PFWD-SNAT-"
	cniPrefix    = "CNI-"
)

// xtPlaced is a rule of the plan: the rules of a chain in order, or before all
// others if First.
type xtPlaced struct {
	xtRule
	First bool
	What  string // in words
}

// masqueradeChainName is the chain that CNI plugins make for a network of a pod.
func masqueradeChainName(network, id string) string {
	sum := sha512.Sum512([]byte(network + id))
	return (cniPrefix + hex.EncodeToString(sum[:]))[:xtChainLimit]
}

var uuidLike = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f-]{27}$`)

// portSuffix ends the names of the chains for ports. Pods whose IDs begin
// alike share chains; their rules are told apart by their comments.
func portSuffix(id string) string {
	if uuidLike.MatchString(id) {
		return id[:8]
	}
	return digest(id)[:8]
}

// ours tells whether the chain is one that the plans make.
func ours(chain string) bool {
	return strings.HasPrefix(chain, dnatPrefix) || strings.HasPrefix(chain, snatPrefix) ||
		strings.HasPrefix(chain, cniPrefix) && len(chain) == xtChainLimit
}

// xtPlan is the content of the tables of one family for a pod.
func xtPlan(p Pod, v6 bool) []xtPlaced {
	var out []xtPlaced
	pieced := map[string]bool{}
	add := func(table, chain, what string, first bool, words ...string) {
		if table == "nat" && ours(chain) && !pieced[chain] {
			pieced[chain] = true
			for _, piece := range pieces(p.ID) {
				out = append(out, xtPlaced{xtRule{table, chain, commented(piece)}, false, what})
			}
		}
		out = append(out, xtPlaced{xtRule{table, chain, words}, first, what})
	}
	for _, m := range p.Masquerades {
		if m.Addr.Addr().Is6() == v6 {
			xtMasquerade(add, p.ID, m)
		}
	}
	ports := false
	for _, f := range p.Forwards {
		if f.To.Is6() == v6 {
			ports = true
			xtForward(add, p.ID, f)
		}
	}
	if ports {
		xtJumps(add, p.ID, v6)
	}
	return out
}

type adder func(table, chain, what string, first bool, words ...string)

func commented(comment string) []string { return []string{"-m", "comment", "--comment", comment} }

// join makes the words of a rule: match, comment, more.
func join(lists ...[]string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// xtMasquerade puts the exception for the subnet first: the chain may have
// been made for another address of the network before.
func xtMasquerade(add adder, id string, m Masquerade) {
	chain, comment := masqueradeChainName(m.Network, id), commented(networkComment(m.Network, id))
	what := fmt.Sprintf("masquerade of %s (network %q)", m.Addr.Addr(), m.Network)
	add("nat", chain, what, true, join([]string{"-d", m.Addr.Masked().String()}, comment, []string{"-j", "ACCEPT"})...)
	add("nat", chain, what, false, join([]string{"!", "-d", multicast(m.Addr.Addr().Is6()).String()}, comment, []string{"-j", "MASQUERADE"})...)
	add("nat", "POSTROUTING", what, false, join([]string{"-s", single(m.Addr.Addr()).String()}, comment, []string{"-j", chain})...)
}

func xtForward(add adder, id string, f Forward) {
	comment, suffix := commented(idComment(id)), portSuffix(id)
	what := "forwarded port " + f.String()
	var to []string
	r := f.dnat()
	if r.Dst.IsValid() {
		to = []string{"-d", r.Dst.String()}
	}
	if r.NotDst {
		to = append([]string{"!"}, to...)
	}
	port := func(n uint16) []string { return []string{"-m", f.Proto, "--dport", fmt.Sprint(n)} }
	proto := []string{"-p", f.Proto}
	add("nat", dnatPrefix+suffix, what, false, join(to, proto, comment, port(f.HostPort), []string{"-j", "DNAT", "--to-destination", r.To.String()})...)
	for _, r := range f.snat() {
		from := []string{"-s", r.Src.String(), "-d", r.Dst.String()}
		add("nat", snatPrefix+suffix, what, false, join(from, proto, comment, port(f.PodPort), []string{"-j", "MASQUERADE"})...)
	}
}

// xtJumps leads to the chains for ports, before rules of others.
func xtJumps(add adder, id string, v6 bool) {
	comment, suffix := commented(idComment(id)), portSuffix(id)
	const what = "jumps to forwarded ports"
	local := []string{"-m", "addrtype", "--dst-type", "LOCAL", "-j", dnatPrefix + suffix}
	add("nat", "PREROUTING", what, true, join(comment, local)...)
	add("nat", "OUTPUT", what, true, join(comment, local)...)
	add("nat", "POSTROUTING", what, true, join(comment, []string{"-m", "conntrack", "--ctstate", "DNAT", "-j", snatPrefix + suffix})...)
	if v6 {
		return
	}
	lo := loopback().String()
	add("nat", "POSTROUTING", what, true, join([]string{"-s", lo, "!", "-d", lo}, comment, []string{"-j", snatPrefix + suffix})...)
	guards := commented(guard()[0].Comment)
	for _, side := range []string{"-d", "-s"} {
		add("raw", "PREROUTING", "protection of loopback addresses", true, join([]string{side, lo, "!", "-i", "lo"}, guards, []string{"-j", "DROP"})...)
	}
}

// xtAccept lets the packets of the pod through where all are dropped that no
// rule accepts.
func xtAccept(p Pod, v6 bool) []xtPlaced {
	var out []xtPlaced
	for _, a := range p.addresses() {
		if a.addr.Is6() != v6 {
			continue
		}
		for _, side := range []string{"-s", "-d"} {
			words := join([]string{side, single(a.addr).String()}, commented(a.comment), []string{"-j", "ACCEPT"})
			out = append(out, xtPlaced{xtRule{"filter", "FORWARD", words}, true, "passage of " + a.addr.String() + " through chain FORWARD"})
		}
	}
	return out
}
