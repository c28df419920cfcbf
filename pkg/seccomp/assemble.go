// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Program is a filter in classic BPF.
type Program []unix.SockFilter

// Offsets in struct seccomp_data.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
	sizeArg    = 8
)

// retErrno is SECCOMP_RET_ERRNO, retKill is SECCOMP_RET_KILL_PROCESS, retAllow
// is SECCOMP_RET_ALLOW.
const (
	retErrno uint32 = 0x00050000
	retKill  uint32 = 0x80000000
	retAllow uint32 = 0x7fff0000
)

// deny is the action that answers errno; 0 kills.
func deny(errno unix.Errno) uint32 {
	if errno == 0 {
		return retKill
	}
	return retErrno | uint32(errno)
}

// assembler writes a program from its end to its start: jumps go forward only,
// so the target of each is there before the jump. A place is the number of
// instructions from the target to the end.
type assembler struct {
	backward Program
	leaves   map[answer]int
}

// maxJump is how far a conditional jump reaches.
const maxJump = 255

func (a *assembler) emit(in unix.SockFilter) int {
	a.backward = append(a.backward, in)
	return len(a.backward)
}

// distance is what the instruction that is emitted next has to skip.
func (a *assembler) distance(place int) int { return len(a.backward) - place }

// follow makes the place what follows the instruction that is emitted next.
func (a *assembler) follow(place int) {
	if n := a.distance(place); n != 0 {
		a.emit(jump(n))
	}
}

func (a *assembler) finish() Program {
	slices.Reverse(a.backward)
	return a.backward
}

// branch jumps to yes if the accumulator compares so with k, else to no.
func (a *assembler) branch(comparison uint16, k uint32, yes, no int) int {
	// An instruction between may put the other target out of reach, so leave
	// it room.
	if a.distance(yes) > maxJump-1 {
		yes = a.emit(jump(a.distance(yes)))
	}
	if a.distance(no) > maxJump {
		no = a.emit(jump(a.distance(no)))
	}
	return a.emit(unix.SockFilter{
		Code: unix.BPF_JMP | comparison | unix.BPF_K, K: k,
		Jt: uint8(a.distance(yes)), Jf: uint8(a.distance(no)),
	})
}

// tree decides by binary search: about ten instructions a call instead of one
// for each listed name.
func (a *assembler) tree(s []span) int {
	if len(s) == 1 {
		return a.leaf(s[0].answer)
	}
	mid := len(s) / 2
	high := a.tree(s[mid:])
	low := a.tree(s[:mid])
	return a.branch(unix.BPF_JGE, s[mid].from, high, low)
}

// leaf is a place that gives the answer: one that is there already, if it is
// in reach.
func (a *assembler) leaf(w answer) int {
	if place, ok := a.leaves[w]; ok && a.distance(place) < maxJump/2 {
		return place
	}
	place := 0
	if w.rule == nil {
		place = a.emit(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: w.action})
	} else {
		pass := a.leaf(answer{action: w.action})
		place = a.leaf(answer{action: deny(w.rule.errno)})
		for _, c := range slices.Backward(w.rule.refuse) {
			place = a.condition(c, place, pass)
		}
	}
	if a.leaves == nil {
		a.leaves = map[answer]int{}
	}
	a.leaves[w] = place
	return place
}

// condition jumps to holds if the condition holds, else to fails.
func (a *assembler) condition(c condition, holds, fails int) int {
	if c.bits != 0 {
		a.branch(unix.BPF_JSET, c.bits, holds, fails)
		return a.emit(load(offsetArgs + sizeArg*c.arg))
	}
	hit, next := holds, fails
	if c.not {
		hit, next = fails, holds
	}
	for _, v := range slices.Backward(c.values) {
		next = a.branch(unix.BPF_JEQ, v, hit, next)
	}
	// The architectures with a table are little endian: the low half is first.
	return a.emit(load(offsetArgs + sizeArg*c.arg))
}

func jump(n int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(n)}
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}
