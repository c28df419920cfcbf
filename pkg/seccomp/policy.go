// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
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
	// Errno is the answer to a denied call; 0 kills the process with SIGSYS.
	Errno unix.Errno
	// Unfiltered says that everything is allowed and nothing is to be loaded.
	Unfiltered bool
	// DenySockets denies sockets of the families AF_ALG and AF_VSOCK.
	DenySockets bool
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

// NewPolicy makes the policy of a seccomp isolator: mode, the names and
// wildcards of its set, and its errno, which may be empty.
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
	calls, err := expand(set)
	if err != nil {
		return Policy{}, err
	}
	switch {
	case !slices.Contains(set, special):
		p.Calls = calls
	case mode == Retain:
		p.Unfiltered = true
	default:
		d := Default()
		d.Errno = p.Errno
		return d, nil
	}
	return p, nil
}

// Default is the policy of an app without seccomp isolator, in the flavors
// that restrict by default. Its answer is SIGSYS.
func Default() Policy {
	calls := append(slices.Clone(allowList[:]), extraAllowed()...)
	return Policy{Mode: Retain, Calls: sorted(calls), DenySockets: true}
}

func expand(set []string) ([]string, error) {
	var calls []string
	for _, word := range set {
		switch {
		case word == wildcardAll || word == wildcardEmpty:
		case strings.HasPrefix(word, "@"):
			list, err := wildcard(word)
			if err != nil {
				return nil, err
			}
			calls = append(calls, list...)
		case isKnown(word):
			calls = append(calls, word)
		default:
			return nil, fmt.Errorf("%w %q", ErrUnknownCall, word)
		}
	}
	return sorted(calls), nil
}

func wildcard(word string) ([]string, error) {
	switch word {
	case "@rkt/default-whitelist":
		return append(slices.Clone(allowList[:]), extraAllowed()...), nil
	case "@docker/default-whitelist":
		return allowList[:], nil
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
