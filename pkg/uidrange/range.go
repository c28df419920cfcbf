// SPDX-License-Identifier: Apache-2.0

package uidrange

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is how many IDs a pod gets.
const Size = 1 << 16

// Range is Count IDs from Start up. The zero value is none at all.
type Range struct{ Start, Count uint32 }

// ErrInvalid is wrapped by Parse.
var ErrInvalid = errors.New("invalid user range")

// Parse reads what String prints.
func Parse(s string) (Range, error) {
	start, count, ok := strings.Cut(s, ":")
	if !ok {
		return Range{}, fmt.Errorf("%w %q", ErrInvalid, s)
	}
	r, err := parse(start, count)
	if err != nil {
		return Range{}, fmt.Errorf("%w %q", ErrInvalid, s)
	}
	return r, nil
}

// parse refuses empty ranges and those with the highest ID, which means "none".
func parse(start, count string) (Range, error) {
	first, err1 := strconv.ParseUint(start, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return Range{}, err
	}
	if n == 0 || first+n > math.MaxUint32 {
		return Range{}, ErrInvalid
	}
	return Range{uint32(first), uint32(n)}, nil
}

// String is the range as START:COUNT.
func (r Range) String() string { return fmt.Sprintf("%d:%d", r.Start, r.Count) }

// end is the first ID behind the range. It does not overflow: see parse.
func (r Range) end() uint32 { return r.Start + r.Count }

// Overlaps tells whether some ID is in both ranges.
func (r Range) Overlaps(o Range) bool { return r.Start < o.end() && o.Start < r.end() }

// intersect returns the IDs that are in some range of both lists.
func intersect(a, b []Range) (both []Range) {
	for _, x := range a {
		for _, y := range b {
			if !x.Overlaps(y) {
				continue
			}
			start := max(x.Start, y.Start)
			both = append(both, Range{start, min(x.end(), y.end()) - start})
		}
	}
	return both
}
