// SPDX-License-Identifier: Apache-2.0

package seccomp

import "slices"

// Diff compares what the two policies allow on this architecture: added is
// what only p allows, removed what only base does. An entry is the name of a
// call, or name(arguments) where both allow the call and one of them not with
// those arguments.
func (p Policy) Diff(base Policy) (added, removed []string) {
	for _, name := range tableNames() {
		own, other := p.grant(name), base.grant(name)
		switch {
		case own == other:
		case own > other:
			added = append(added, entry(name, other))
		default:
			removed = append(removed, entry(name, own))
		}
	}
	return added, removed
}

// Allowed are the calls of this architecture that the policy allows, be it with
// some arguments only.
func (p Policy) Allowed() []string {
	return slices.DeleteFunc(tableNames(), func(name string) bool { return p.grant(name) == never })
}

// tableNames are the calls of this architecture.
func tableNames() []string {
	var names []string
	for _, t := range abis() {
		for _, c := range t.calls {
			names = append(names, c.name)
		}
	}
	return sorted(names)
}

// grant is how far a call is allowed.
type grant int

const (
	never grant = iota
	byRule
	always
)

func (p Policy) grant(name string) grant {
	if p.Unfiltered {
		return always
	}
	var r *rule
	if slices.Contains(p.Guarded, name) {
		r = ruleOf(name)
	}
	switch {
	case p.listed(name) != (p.Mode == Retain) || r != nil && len(r.refuse) == 0:
		return never
	case r != nil:
		return byRule
	}
	return always
}

func entry(name string, lesser grant) string {
	if lesser == never {
		return name
	}
	return name + "(" + ruleOf(name).what + ")"
}
