// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// ArgumentRule tells people about a call that is refused for some arguments.
type ArgumentRule struct {
	Call   string
	Refuse string // the arguments; empty: the call is refused whatever they are
	Errno  unix.Errno
}

// ArgumentRules are those of the policy, for calls that this architecture has
// and that the policy would allow otherwise.
func (p Policy) ArgumentRules() []ArgumentRule {
	var all []ArgumentRule
	if p.Unfiltered {
		return nil
	}
	names := tableNames()
	for _, name := range p.Guarded {
		r := ruleOf(name)
		if r == nil || !slices.Contains(names, name) || len(r.refuse) > 0 && p.grant(name) == never {
			continue
		}
		all = append(all, ArgumentRule{Call: name, Refuse: r.what, Errno: r.errno})
	}
	return all
}
