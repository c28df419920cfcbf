// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
)

// Mode says what the list of a policy is.
type Mode int

// The modes.
const (
	Retain Mode = iota // only the listed calls are allowed
	Remove             // only the listed calls are denied
)

// Policy is a decided filter.
type Policy struct {
	Mode Mode
	// Calls are the listed calls, wildcards expanded, sorted, without duplicates.
	Calls []string
	// Guarded are the calls that are refused for some arguments, by the
	// default list's rule for each.
	Guarded []string
	// Errno is the answer to a denied call; 0 kills the process with SIGSYS.
	Errno unix.Errno
	// Unknown, if not 0, is the answer to a number that is no system call, or
	// none yet.
	Unknown unix.Errno
	// Unfiltered says that everything is allowed and nothing is to be loaded.
	Unfiltered bool
}

// Wildcards with a meaning of their own.
const (
	wildcardAll   = "@appc.io/all"
	wildcardEmpty = "@appc.io/empty"
)

// Errors of policies.
var (
	ErrUnknownCall     = errors.New("unknown system call")
	ErrUnknownWildcard = errors.New("unknown system call wildcard")
)

// Default is the policy of an app without seccomp isolator, in the flavors
// that restrict by default, given the bounding set that the app keeps: a
// capability brings the calls that are of no use without it. What it denies
// fails with EPERM, what it does not know with ENOSYS, as on an older kernel.
func Default(bounding caps.Set) Policy {
	calls := defaultList(extraAllowed())
	guarded := ruled()
	for _, c := range capCalls {
		if bounding.Has(c.capability) {
			calls = append(calls, c.calls...)
		}
	}
	if bounding.Has(unix.CAP_SYS_ADMIN) { // may make namespaces
		guarded = without(guarded, "clone", "clone3")
	}
	return Policy{Mode: Retain, Calls: sorted(calls), Guarded: guarded, Errno: unix.EPERM, Unknown: unix.ENOSYS}
}

// NewPolicy makes the policy of a seccomp isolator: mode, the names and
// wildcards of its set, and its errno, which may be empty.
//
// A retain-set that has the default list as a wildcard has its rules about
// arguments, too, except for the calls that it lists in another way.
func NewPolicy(mode Mode, set []string, errno string) (Policy, error) {
	p := Policy{Mode: mode}
	var err error
	if p.Errno, err = ParseErrno(errno); err != nil {
		return Policy{}, err
	}
	special := wildcardAll
	contradiction := wildcardEmpty
	if mode == Remove {
		special, contradiction = wildcardEmpty, wildcardAll
	}
	if slices.Contains(set, contradiction) {
		return Policy{}, fmt.Errorf("%s cannot be in this set: no program could run", contradiction)
	}
	calls, byDefault, err := expand(set)
	if err != nil {
		return Policy{}, err
	}
	switch {
	case !slices.Contains(set, special):
		p.Calls = sorted(append(calls, byDefault...))
		if mode == Retain && byDefault != nil {
			p.Guarded = without(ruled(), calls...)
		}
	case mode == Retain:
		p.Unfiltered = true
	default:
		d := Default(0)
		d.Errno = p.Errno
		return d, nil
	}
	return p, nil
}

// expand returns the calls that a set lists; those it has from a wildcard for
// the default list come apart.
func expand(set []string) (calls, byDefault []string, err error) {
	for _, word := range set {
		switch {
		case word == wildcardAll || word == wildcardEmpty:
		case word == "@rkt/default-whitelist":
			byDefault = append(byDefault, defaultList(extraAllowed())...)
		case word == "@docker/default-whitelist":
			byDefault = append(byDefault, defaultList(nil)...)
		case strings.HasPrefix(word, "@"):
			list, err := wildcard(word)
			if err != nil {
				return nil, nil, err
			}
			calls = append(calls, list...)
		case isKnown(word):
			calls = append(calls, word)
		default:
			return nil, nil, fmt.Errorf("%w %q", ErrUnknownCall, word)
		}
	}
	return calls, byDefault, nil
}

func wildcard(word string) ([]string, error) {
	switch word {
	case "@rkt/default-blacklist", "@docker/default-blacklist":
		return denyList[:], nil
	case "@systemd/clock":
		return groupClock[:], nil
	case "@systemd/mount":
		return groupMount[:], nil
	case "@systemd/network-io":
		return groupNetworkIO[:], nil
	case "@systemd/obsolete":
		return groupObsolete[:], nil
	case "@systemd/privileged":
		return groupPrivileged[:], nil
	case "@systemd/process":
		return groupProcess[:], nil
	case "@systemd/raw-io":
		return groupRawIO[:], nil
	case "@systemd/default-whitelist":
		return groupDefault[:], nil
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownWildcard, word)
}

func isKnown(name string) bool {
	_, ok := slices.BinarySearch(known[:], name)
	return ok
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// without is the list without the named ones.
func without(list []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(names, s) })
}
