// SPDX-License-Identifier: Apache-2.0

package caps

import (
	"errors"
	"fmt"
	"strings"
)

const prefix = "CAP_"

// ErrUnknown is wrapped by Parse for a name that no kernel knows.
var ErrUnknown = errors.New("unknown capability")

// Set is a set of capabilities, bit n for capability number n. The zero value
// is the empty set.
type Set uint64

// All is every capability that has a name.
const All Set = 1<<len(names) - 1

// Default is the bounding set of an app that asks for nothing (spec apps.md 8).
// In this order of numbers: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID
// SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
const Default Set = 1<<0 | 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<13 | 1<<18 | 1<<27 | 1<<29 | 1<<31

// Parse returns the set of the named capabilities.
func Parse(list []string) (Set, error) {
	var s Set
	for _, name := range list {
		n, ok := number(name)
		if !ok {
			return 0, fmt.Errorf("%w %q", ErrUnknown, name)
		}
		s |= 1 << n
	}
	return s, nil
}

func number(name string) (int, bool) {
	short, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	for i, n := range names {
		if n == short {
			return i, true
		}
	}
	return 0, false
}

// Has tells whether capability number n is in the set.
func (s Set) Has(n int) bool { return s&(1<<n) != 0 }

// Names lists the set in the order of the numbers.
func (s Set) Names() []string {
	var out []string
	for i, n := range names {
		if s.Has(i) {
			out = append(out, prefix+n)
		}
	}
	return out
}

// String is the names, separated by blanks.
func (s Set) String() string { return strings.Join(s.Names(), " ") }
