// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Tidy deletes the table and the shared chains. Where a pod's rules come in
// meanwhile the kernel refuses to delete their chain, and with it all of it.
func (n *nft) Tidy() error {
	err := retry(func(s *socket) error {
		b := &batch{s: s}
		bases := nftPlan(Pod{Forwards: make([]Forward, 1)}).Bases
		var there []base
		for _, c := range bases {
			has, err := n.hasChain(s, c.Name)
			if err != nil {
				return err
			}
			if !has {
				continue
			}
			there = append(there, c)
			if len(c.Rules) > 0 {
				n.flush(b, c.Name)
				continue
			}
			rules, err := n.rulesOf(s, c.Name)
			if err != nil || len(rules) > 0 {
				return err
			}
		}
		if len(there) == 0 {
			return nil
		}
		// Those that others jump to come after these.
		for i := len(there) - 1; i >= 0; i-- {
			b.add(unix.NFT_MSG_DELCHAIN, unix.NLM_F_NONREC, attrString(unix.NFTA_CHAIN_TABLE, n.table), attrString(unix.NFTA_CHAIN_NAME, there[i].Name))
		}
		b.add(unix.NFT_MSG_DELTABLE, unix.NLM_F_NONREC, attrString(unix.NFTA_TABLE_NAME, n.table))
		err := b.commit()
		if errors.Is(err, unix.EBUSY) {
			return nil // a pod has come
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove the table of firewall rules: %w", err)
	}
	return nil
}

// Tidy has nothing to do: shared rules go with the last port.
func (*xtables) Tidy() error { return nil }
