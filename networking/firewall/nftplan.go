// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	tableName  = "rkt"
	maxComment = 127 // what nft itself allows
)

// base is a chain that all pods share. Its own rules are made anew with every
// Add; those without any get the jumps of the pods.
type base struct {
	Name  string
	Hook  string // empty for the chain that only others jump to
	Type  string
	Prio  int32
	Rules []rule
}

// owned is a chain of one pod, with the rules in shared chains that jump to it.
type owned struct {
	Name  string
	What  string // in words
	Rules []rule
	Jumps []placed
	// Grows tells that later Adds bring more rules. The rules of other chains
	// follow from the name.
	Grows bool
}

// placed is a rule with its chain.
type placed struct {
	In   string
	Rule rule
}

type nftTable struct {
	Bases []base
	Owned []owned
}

const (
	chainPorts       = "ports"
	chainPostrouting = "postrouting"
)

// nftPlan is the content of the table for one pod.
func nftPlan(p Pod) nftTable {
	t := nftTable{Bases: []base{{Name: chainPostrouting, Hook: "postrouting", Type: "nat", Prio: 100}}}
	for _, m := range p.Masquerades {
		t.Owned = append(t.Owned, masqueradeChain(p.ID, m))
	}
	if len(p.Forwards) == 0 {
		return t
	}
	local := []rule{{Comment: "forwarded ports", Local: true, Do: jump, Chain: chainPorts}}
	t.Bases = append(
		t.Bases,
		base{Name: chainPorts},
		base{Name: "prerouting", Hook: "prerouting", Type: "nat", Prio: -100, Rules: local},
		base{Name: "output", Hook: "output", Type: "nat", Prio: -100, Rules: local},
		base{Name: "guard", Hook: "prerouting", Type: "filter", Prio: -300, Rules: guard()},
	)
	t.Owned = append(t.Owned, portChains(p)...)
	return t
}

func masqueradeChain(id string, m Masquerade) owned {
	name := "masq-" + digest(id, m.Network, m.Addr.String())
	return owned{
		Name:  name,
		What:  fmt.Sprintf("masquerade of %s (network %q)", m.Addr.Addr(), m.Network),
		Rules: append(pieceRules(id), m.rules()...),
		Jumps: []placed{{chainPostrouting, rule{
			Comment: networkComment(m.Network, id), Src: single(m.Addr.Addr()), Do: jump, Chain: name,
		}}},
	}
}

func portChains(p Pod) []owned {
	to := owned{Name: "dnat-" + digest(p.ID), What: "forwarded ports", Grows: true, Rules: pieceRules(p.ID)}
	back := owned{Name: "snat-" + digest(p.ID), What: "answers of forwarded ports", Grows: true, Rules: pieceRules(p.ID)}
	for _, f := range p.Forwards {
		to.Rules = appendNew(to.Rules, f.dnat())
		back.Rules = appendNew(back.Rules, f.snat()...)
	}
	to.Jumps = []placed{{chainPorts, rule{Comment: idComment(p.ID), Do: jump, Chain: to.Name}}}
	back.Jumps = []placed{{chainPostrouting, rule{Comment: idComment(p.ID), Translated: true, Do: jump, Chain: back.Name}}}
	return []owned{to, back}
}

func pieceRules(id string) []rule {
	var out []rule
	for _, piece := range pieces(id) {
		out = append(out, rule{Comment: piece, Do: nothing})
	}
	return out
}

// appendNew leaves out rules that are there: two ports of the host may lead
// to one of the pod.
func appendNew(rules []rule, more ...rule) []rule {
next:
	for _, r := range more {
		for _, have := range rules {
			if have == r {
				continue next
			}
		}
		rules = append(rules, r)
	}
	return rules
}

// String is the plan as "nft list" would show it, more or less.
func (t nftTable) String() string {
	var b strings.Builder
	for _, c := range t.Bases {
		fmt.Fprintf(&b, "chain %s\n", c.Name)
		if c.Hook != "" {
			fmt.Fprintf(&b, "\ttype %s hook %s priority %d\n", c.Type, c.Hook, c.Prio)
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t%s\n", r)
		}
	}
	for _, c := range t.Owned {
		fmt.Fprintf(&b, "chain %s\n", c.Name)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t%s\n", r)
		}
		for _, j := range c.Jumps {
			fmt.Fprintf(&b, "in %s: %s\n", j.In, j.Rule)
		}
	}
	return b.String()
}

// probePod needs rules of every kind.
func probePod() Pod {
	v4, v6 := netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")
	p := Pod{ID: "probe"}
	for _, a := range []netip.Prefix{v4, v6} {
		p.Masquerades = append(p.Masquerades, Masquerade{Network: "probe", Addr: a})
		p.Forwards = append(p.Forwards, Forward{Proto: "tcp", HostIP: a.Masked().Addr().Next(), HostPort: 1, PodPort: 1, To: a.Addr(), Subnet: a.Masked()})
	}
	return p
}
