// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// nft is the backend of nf_tables.
type nft struct {
	table    string
	warnings []string
}

func newNft() *nft { return &nft{table: tableName} }

func (*nft) Name() string { return "nftables" }

func (n *nft) Warnings() []string { return n.warnings }

// Add needs no look at the chains that others use as long as the pod's own do
// not exist: they come and go together with the jumps to them.
func (n *nft) Add(p Pod) error {
	n.warnings = nil
	p, err := p.check()
	if err != nil {
		return fmt.Errorf("add firewall rules: %w", err)
	}
	if len(p.Masquerades) == 0 && len(p.Forwards) == 0 {
		return nil
	}
	plan := nftPlan(p)
	if err := retry(func(s *socket) error { return n.apply(s, plan) }); err != nil {
		return fmt.Errorf("add firewall rules of %q: %w", p.ID, err)
	}
	n.warnings = openForward(p)
	return nil
}

func (n *nft) apply(s *socket, plan nftTable) error {
	b := &batch{s: s}
	if err := n.addBases(b, plan.Bases); err != nil {
		return err
	}
	seen := map[string][]found{}
	for _, c := range plan.Owned {
		if err := n.addOwned(b, c, seen); err != nil {
			return err
		}
	}
	return b.commit()
}

// addBases adds the shared chains that are not as they ought to be. It leaves
// others alone: changing a chain costs the kernel milliseconds.
func (n *nft) addBases(b *batch, bases []base) error {
	b.add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, attrString(unix.NFTA_TABLE_NAME, n.table))
	var stale []base
	for _, c := range bases {
		good, err := n.isGood(b.s, c)
		if err != nil {
			return err
		}
		if !good {
			n.addChain(b, c, unix.NLM_F_CREATE)
			stale = append(stale, c)
		}
	}
	for _, c := range stale { // their rules jump to others of them
		if len(c.Rules) > 0 {
			n.flush(b, c.Name)
			n.addRules(b, c.Name, c.Rules, nil)
		}
	}
	return nil
}

// isGood tells whether a shared chain is there with its own rules.
func (n *nft) isGood(s *socket, c base) (bool, error) {
	if len(c.Rules) == 0 {
		return n.hasChain(s, c.Name)
	}
	have, err := n.rulesOf(s, c.Name)
	return hasAll(have, c.Rules), err
}

// addOwned adds a chain of a pod, or what it and the jumps to it lack.
func (n *nft) addOwned(b *batch, c owned, seen map[string][]found) error {
	exists, err := n.hasChain(b.s, c.Name)
	if err != nil {
		return err
	}
	if !exists {
		n.addChain(b, base{Name: c.Name}, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		n.addRules(b, c.Name, c.Rules, nil)
		for _, j := range c.Jumps {
			n.addJump(b, j)
		}
		return nil
	}
	have, err := n.rulesOf(b.s, c.Name)
	if err != nil {
		return err
	}
	if !c.Grows && !hasAll(have, c.Rules) {
		n.flush(b, c.Name)
		have = nil
	}
	n.addRules(b, c.Name, c.Rules, have)
	for _, j := range c.Jumps {
		there, err := n.seenRules(b.s, j.In, seen)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(there, func(f found) bool { return f.chain == c.Name }) {
			n.addJump(b, j)
		}
	}
	return nil
}

func (n *nft) addRules(b *batch, chain string, rules []rule, have []found) {
	for _, r := range rules {
		if !hasComment(have, r.Comment) {
			n.addRule(b, chain, r)
		}
	}
}

func (n *nft) addChain(b *batch, c base, flags uint16) {
	parts := [][]byte{attrString(unix.NFTA_CHAIN_TABLE, n.table), attrString(unix.NFTA_CHAIN_NAME, c.Name)}
	if c.Hook != "" {
		parts = append(
			parts,
			nested(unix.NFTA_CHAIN_HOOK, attrUint32(unix.NFTA_HOOK_HOOKNUM, hookNumber(c.Hook)), attrUint32(unix.NFTA_HOOK_PRIORITY, uint32(c.Prio))),
			attrString(unix.NFTA_CHAIN_TYPE, c.Type),
		)
	}
	b.add(unix.NFT_MSG_NEWCHAIN, flags, parts...)
}

func hookNumber(hook string) uint32 {
	return uint32(slices.Index([]string{"prerouting", "input", "forward", "output", "postrouting"}, hook))
}

func (n *nft) flush(b *batch, chain string) {
	b.add(unix.NFT_MSG_DELRULE, 0, attrString(unix.NFTA_RULE_TABLE, n.table), attrString(unix.NFTA_RULE_CHAIN, chain))
}

func (n *nft) addRule(b *batch, chain string, r rule) { n.putRule(b, unix.NLM_F_APPEND, chain, r) }

// addJump puts a jump to a pod's chain before those of other pods: one that has
// ended keeps its rules until it is collected, and may have had the same port.
func (n *nft) addJump(b *batch, j placed) { n.putRule(b, 0, j.In, j.Rule) }

// putRule puts a rule at the end of a chain, or without NLM_F_APPEND at its beginning.
func (n *nft) putRule(b *batch, where uint16, chain string, r rule) {
	parts := [][]byte{attrString(unix.NFTA_RULE_TABLE, n.table), attrString(unix.NFTA_RULE_CHAIN, chain)}
	var list [][]byte
	for _, e := range r.exprs() {
		data, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			panic(fmt.Sprintf("encode rule %q: %v", r, err)) // all kinds of exprs are tested
		}
		list = append(list, nested(unix.NFTA_LIST_ELEM, data))
	}
	if len(list) > 0 {
		parts = append(parts, nested(unix.NFTA_RULE_EXPRESSIONS, list...))
	}
	if r.Comment != "" {
		parts = append(parts, attr(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, toNft(r.Comment))))
	}
	b.add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|where, parts...)
}

// found is a rule as the kernel has it.
type found struct {
	handle  uint64
	comment string
	chain   string // jumped to
}

func (n *nft) rulesOf(s *socket, chain string) ([]found, error) {
	var out []found
	data := append(attrString(unix.NFTA_RULE_TABLE, n.table), attrString(unix.NFTA_RULE_CHAIN, chain)...)
	err := s.ask(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, unix.NFPROTO_INET, data, func(msg []byte) {
		out = append(out, parseRule(msg))
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("list rules of chain %s: %w", chain, err)
	}
	return out, nil
}

func parseRule(msg []byte) found {
	var f found
	if h := find(msg, unix.NFTA_RULE_HANDLE); len(h) == 8 {
		f.handle = binary.BigEndian.Uint64(h)
	}
	if u := find(msg, unix.NFTA_RULE_USERDATA); len(u) > 2 && u[0] == byte(userdata.TypeComment) && int(u[1]) <= len(u)-2 {
		text, _ := userdata.GetString(u, userdata.TypeComment)
		f.comment = fromNft(text)
	}
	for _, e := range attrs(find(msg, unix.NFTA_RULE_EXPRESSIONS)) {
		verdict := find(e, unix.NFTA_EXPR_DATA, unix.NFTA_IMMEDIATE_DATA, unix.NFTA_DATA_VERDICT, unix.NFTA_VERDICT_CHAIN)
		if string(find(e, unix.NFTA_EXPR_NAME)) == "immediate\x00" && len(verdict) > 0 {
			f.chain = cString(verdict)
		}
	}
	return f
}

func cString(b []byte) string {
	if i := slices.Index(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// seenRules lists the rules of a shared chain once per operation.
func (n *nft) seenRules(s *socket, chain string, seen map[string][]found) ([]found, error) {
	if rules, ok := seen[chain]; ok {
		return rules, nil
	}
	rules, err := n.rulesOf(s, chain)
	if err == nil {
		seen[chain] = rules
	}
	return rules, err
}

func (n *nft) hasChain(s *socket, name string) (bool, error) {
	msg, err := getChain(s, unix.NFPROTO_INET, n.table, name)
	return msg != nil, err
}

// getChain returns the attributes of a chain, or nil when it does not exist.
func getChain(s *socket, fam byte, table, name string) ([]byte, error) {
	var out []byte
	data := append(attrString(unix.NFTA_CHAIN_TABLE, table), attrString(unix.NFTA_CHAIN_NAME, name)...)
	err := s.ask(unix.NFT_MSG_GETCHAIN, unix.NLM_F_ACK, fam, data, func(msg []byte) { out = slices.Clone(msg) })
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for chain %s: %w", name, err)
	}
	return out, nil
}

func hasComment(have []found, comment string) bool {
	return slices.ContainsFunc(have, func(f found) bool { return f.comment == comment })
}

func hasAll(have []found, rules []rule) bool {
	return !slices.ContainsFunc(rules, func(r rule) bool { return !hasComment(have, r.Comment) })
}

func (n *nft) RemoveNetwork(id, network string) error {
	mine := func(comment string) bool { return ownerNetwork(comment, id, network) }
	if err := n.remove(mine, chainPostrouting); err != nil {
		return fmt.Errorf("remove firewall rules of %q for network %q: %w", id, network, err)
	}
	return closeForward(label(id, idLabel), mine)
}

func (n *nft) Remove(id string) error {
	mine := func(comment string) bool { return owner(comment, id) }
	if err := n.remove(mine, chainPostrouting, chainPorts); err != nil {
		return fmt.Errorf("remove firewall rules of %q: %w", id, err)
	}
	return closeForward(label(id, idLabel), mine)
}

// remove deletes the jumps of these comments and the chains they lead to. The
// chains prove that the handles are still those of the jumps: were the table
// made anew meanwhile, or a jump overlooked, the transaction would fail.
func (n *nft) remove(mine func(string) bool, shared ...string) error {
	return retry(func(s *socket) error {
		b := &batch{s: s}
		var chains []string
		for _, in := range shared {
			rules, err := n.rulesOf(s, in)
			if err != nil {
				return err
			}
			for _, f := range rules {
				if !mine(f.comment) {
					continue
				}
				b.add(
					unix.NFT_MSG_DELRULE, 0, attrString(unix.NFTA_RULE_TABLE, n.table),
					attrString(unix.NFTA_RULE_CHAIN, in), attrUint64(unix.NFTA_RULE_HANDLE, f.handle),
				)
				if f.chain != "" && !slices.Contains(chains, f.chain) {
					chains = append(chains, f.chain)
				}
			}
		}
		for _, c := range chains {
			b.add(unix.NFT_MSG_DELCHAIN, 0, attrString(unix.NFTA_CHAIN_TABLE, n.table), attrString(unix.NFTA_CHAIN_NAME, c))
		}
		return b.commit()
	})
}

func (n *nft) Missing(p Pod) ([]string, error) {
	p, err := p.check()
	if err != nil {
		return nil, fmt.Errorf("check firewall rules: %w", err)
	}
	var out []string
	plan := nftPlan(p)
	err = retry(func(s *socket) error {
		var err error
		out, err = n.missing(s, plan)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check firewall rules of %q: %w", p.ID, err)
	}
	closed, err := missingForward(p)
	return append(out, closed...), err
}

func (n *nft) missing(s *socket, plan nftTable) ([]string, error) {
	if len(plan.Owned) == 0 {
		return nil, nil
	}
	var out []string
	seen := map[string][]found{}
	for _, c := range plan.Bases {
		good, err := n.isGood(s, c)
		if err != nil {
			return nil, err
		}
		if !good {
			out = append(out, fmt.Sprintf("chain %s of table inet %s", c.Name, n.table))
		}
	}
	for _, c := range plan.Owned {
		have, err := n.rulesOf(s, c.Name)
		if err != nil {
			return nil, err
		}
		for _, j := range c.Jumps {
			there, err := n.seenRules(s, j.In, seen)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(there, func(f found) bool { return f.chain == c.Name }) {
				have = nil // not in force
			}
		}
		out = append(out, c.lacks(have)...)
	}
	return out, nil
}

// lacks says which rules are not among those in force.
func (c owned) lacks(have []found) []string {
	var out []string
	for _, r := range c.Rules {
		switch {
		case hasComment(have, r.Comment):
		case c.Grows && r.Do != nothing:
			out = append(out, "forwarded port "+r.Comment)
		case !slices.Contains(out, c.What):
			out = append(out, c.What)
		}
	}
	return out
}

func (n *nft) IDs() ([]string, error) {
	var out []string
	err := retry(func(s *socket) error {
		all := names{}
		for _, in := range []string{chainPostrouting, chainPorts} {
			rules, err := n.rulesOf(s, in)
			if err != nil {
				return err
			}
			for _, f := range rules {
				if err := n.addName(s, all, f); err != nil {
					return err
				}
			}
		}
		out = all.ids()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list firewall rules: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

func (n *nft) addName(s *socket, all names, f found) error {
	all.add(f.comment)
	t, ok := parseTag(f.comment)
	if !ok || !isCut(t.id) || len(all[t.id]) > 0 {
		return nil
	}
	rules, err := n.rulesOf(s, f.chain)
	for _, r := range rules {
		all.add(r.comment)
	}
	return err
}

// probeNft tells whether the kernel can do what the rules need, in this
// network namespace. What is there already proves it; otherwise a transaction
// makes one rule of each kind and takes them back before it ends.
func probeNft() error {
	return retry(func(s *socket) error {
		n := newNft()
		if ok, err := n.hasChain(s, chainPostrouting); ok || err != nil {
			return err
		}
		n.table = tableName + "-probe"
		b := &batch{s: s}
		plan := nftPlan(probePod())
		if err := n.addBases(b, plan.Bases); err != nil {
			return err
		}
		for _, c := range plan.Owned {
			n.addChain(b, base{Name: c.Name}, unix.NLM_F_CREATE)
			n.addRules(b, c.Name, c.Rules, nil)
			for _, j := range c.Jumps {
				n.addJump(b, j)
			}
		}
		b.add(unix.NFT_MSG_DELTABLE, 0, attrString(unix.NFTA_TABLE_NAME, n.table))
		return b.commit()
	})
}
