// SPDX-License-Identifier: Apache-2.0

package uidrange

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// owner is the user whose subordinate IDs pods get.
const owner = "rkt"

// defaultPool are the IDs for containers of systemd's conventions ("Users,
// Groups, UIDs and GIDs on systemd Systems").
func defaultPool() []Range { return []Range{{0x00080000, 0x70000000 - 0x00080000}} }

// Host is what the host's files say.
type Host struct {
	// Pool is what ranges are taken from.
	Pool []Range
	// Taken are the IDs of users, groups and subordinate IDs of others.
	Taken []Range
}

// ReadHost reads the files of a directory, /etc. Each of them may be missing.
func ReadHost(dir string) (*Host, error) {
	var lists [4][]Entry
	for i, f := range []struct {
		name  string
		parse func(io.Reader) ([]Entry, error)
	}{{"passwd", parseIDs}, {"group", parseIDs}, {"subuid", ParseSubIDs}, {"subgid", ParseSubIDs}} {
		var err error
		if lists[i], err = readFile(filepath.Join(dir, f.name), f.parse); err != nil {
			return nil, err
		}
	}
	users, groups, subUsers, subGroups := lists[0], lists[1], lists[2], lists[3]
	h := &Host{}
	for _, e := range slices.Concat(users, groups) {
		h.Taken = append(h.Taken, e.Range)
	}
	var uid *uint32
	if i := slices.IndexFunc(users, func(e Entry) bool { return e.Owner == owner }); i >= 0 {
		uid = &users[i].Start
	}
	ownUsers, ownGroups := h.sort(subUsers, uid), h.sort(subGroups, uid)
	if ownUsers == nil && ownGroups == nil {
		h.Pool = defaultPool()
		return h, nil
	}
	h.Pool = intersect(ownUsers, ownGroups)
	return h, nil
}

// sort returns our own ranges and notes the others as taken.
func (h *Host) sort(entries []Entry, uid *uint32) (own []Range) {
	for _, e := range entries {
		if e.claims(owner, uid) {
			own = append(own, e.Range)
		} else {
			h.Taken = append(h.Taken, e.Range)
		}
	}
	return own
}

func readFile(path string, parse func(io.Reader) ([]Entry, error)) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	entries, err := parse(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return entries, nil
}

// Errors of Choose.
var (
	ErrNoPool = errors.New("the subordinate IDs of user " + owner + " in /etc/subuid and /etc/subgid have no 65536 IDs in common")
	ErrNoFree = errors.New("no free user range")
)

// Choose returns a block of the pool that is free, also of the ranges given.
// It looks from the block with the number start, modulo how many there are, on:
// with a random number, data directories that know nothing of each other
// rarely meet.
func (h *Host) Choose(pods []Range, start uint32) (Range, error) {
	taken := disjoint(slices.Concat(h.Taken, pods))
	var total uint32
	for _, p := range h.Pool {
		total += p.Count / Size
	}
	if total == 0 {
		return Range{}, ErrNoPool
	}
	for i := range total {
		if r := h.block((start%total + i) % total); !isTaken(taken, r) {
			return r, nil
		}
	}
	return Range{}, fmt.Errorf("%w: all %d are in use", ErrNoFree, total)
}

// block is the block of the pool with a number.
func (h *Host) block(n uint32) Range {
	for _, p := range h.Pool {
		if blocks := p.Count / Size; n >= blocks {
			n -= blocks
			continue
		}
		return Range{p.Start + n*Size, Size}
	}
	panic("uidrange: no block of that number")
}

// disjoint sorts ranges and joins those that overlap.
func disjoint(list []Range) (out []Range) {
	list = slices.DeleteFunc(list, func(r Range) bool { return r.Count == 0 })
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	for _, r := range list {
		if last := len(out) - 1; last >= 0 && out[last].end() >= r.Start {
			out[last].Count = max(out[last].end(), r.end()) - out[last].Start
			continue
		}
		out = append(out, r)
	}
	return out
}

// isTaken looks for the first of disjoint ranges that ends behind r's start.
func isTaken(taken []Range, r Range) bool {
	i, _ := slices.BinarySearchFunc(taken, r.Start, func(t Range, start uint32) int {
		if t.end() <= start {
			return -1
		}
		return 1
	})
	return i < len(taken) && taken[i].Overlaps(r)
}
