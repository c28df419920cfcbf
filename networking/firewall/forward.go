// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Where docker, ufw and the like let the chain FORWARD of iptables drop what
// no rule accepts, no rule of another table can let a pod's packets through.
// The chain then gets rules for the pod's addresses, by the programs that made
// it. Everywhere else this costs two questions to the kernel.

// nfDrop is the policy of a chain that drops, as nf_tables has it.
const nfDrop = 0

// openForward lets the pod's packets through, and says what hinders it.
func openForward(p Pod) []string {
	var warnings []string
	for _, v6 := range []bool{false, true} {
		plan := xtAccept(p, v6)
		if len(plan) == 0 {
			continue
		}
		err := eachDropping(v6, func(prog programs, have saved) error { return prog.write(have.add(plan)) })
		if err != nil {
			warnings = append(warnings, fmt.Sprintf(
				"chain FORWARD of %s drops packets by default and may keep the pod from its networks: %v", tables(v6), err,
			))
		}
	}
	return warnings
}

func missingForward(p Pod) ([]string, error) {
	var out []string
	var errs error
	for _, v6 := range []bool{false, true} {
		plan := xtAccept(p, v6)
		if len(plan) == 0 {
			continue
		}
		err := eachDropping(v6, func(_ programs, have saved) error {
			out = append(out, have.lacks(plan)...)
			return nil
		})
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("check chain FORWARD of %s: %w", tables(v6), err))
		}
	}
	return out, errs
}

// closeForward deletes the rules of these comments, which contain the label.
func closeForward(idLabel string, mine func(string) bool) error {
	var errs error
	for _, v6 := range []bool{false, true} {
		err := eachForward(v6, idLabel, func(prog programs, have saved) error { return prog.write(have.remove(mine)) })
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("remove rules from chain FORWARD of %s: %w", tables(v6), err))
		}
	}
	return errs
}

func tables(v6 bool) string {
	if v6 {
		return "ip6tables"
	}
	return "iptables"
}

// eachDropping hands over the tables filter whose chain FORWARD drops.
func eachDropping(v6 bool, do func(programs, saved) error) error {
	return eachTable(v6, func(chain []byte) (bool, error) {
		policy := find(chain, unix.NFTA_CHAIN_POLICY)
		return len(policy) == 4 && binary.BigEndian.Uint32(policy) == nfDrop, nil
	}, func(prog programs, have saved) error {
		if have.policies[tableChain{"filter", "FORWARD"}] != "DROP" {
			return nil
		}
		return do(prog, have)
	})
}

// eachForward hands over the tables filter whose chain FORWARD contains text.
func eachForward(v6 bool, text string, do func(programs, saved) error) error {
	return eachTable(v6, func([]byte) (bool, error) {
		found := false
		err := retry(func(s *socket) error {
			data := append(attrString(unix.NFTA_RULE_TABLE, "filter"), attrString(unix.NFTA_RULE_CHAIN, "FORWARD")...)
			return s.ask(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, ipFamily(v6), data, func(msg []byte) {
				found = found || bytes.Contains(msg, []byte(text))
			})
		})
		return found, err
	}, do)
}

// eachTable hands over the tables filter that are worth it: the one of
// iptables-nft if its chain FORWARD is wanted, the one of iptables-legacy if
// it was ever used.
func eachTable(v6 bool, wanted func(chain []byte) (bool, error), do func(programs, saved) error) error {
	var variants []string
	chain, err := forwardChain(v6)
	if err != nil {
		return err
	}
	if chain != nil {
		ok, err := wanted(chain)
		if err != nil {
			return err
		}
		if ok {
			variants = append(variants, "-nft")
		}
	}
	if hasLegacyFilter(v6) {
		variants = append(variants, "-legacy")
	}
	for _, variant := range variants {
		prog, err := findPrograms(v6, variant)
		if err != nil {
			return err
		}
		have, err := prog.read("filter")
		if err != nil {
			return err
		}
		if err := do(prog, have); err != nil {
			return err
		}
	}
	return nil
}

func ipFamily(v6 bool) byte {
	if v6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

func forwardChain(v6 bool) ([]byte, error) {
	var chain []byte
	err := once(func(s *socket) error {
		var err error
		chain, err = getChain(s, ipFamily(v6), "filter", "FORWARD")
		return err
	})
	return chain, err
}

// hasLegacyFilter asks the tables of the thread's network namespace, which is
// not always that of the process.
func hasLegacyFilter(v6 bool) bool {
	name := "ip_tables_names"
	if v6 {
		name = "ip6_tables_names"
	}
	data, err := os.ReadFile("/proc/thread-self/net/" + name)
	return err == nil && strings.Contains("\n"+string(data), "\nfilter\n")
}
