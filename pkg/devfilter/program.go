// SPDX-License-Identifier: Apache-2.0

package devfilter

import (
	"slices"

	"golang.org/x/sys/unix"
)

// instruction is one of eBPF (linux/bpf.h, struct bpf_insn).
type instruction struct {
	code   uint8
	regs   uint8 // destination in the low half, source in the high one
	offset int16
	imm    int32
}

// Registers of a program. r0 has its answer: 1 allows.
const (
	r0 uint8 = iota
	ctxReg
	accessReg
	kindReg
	majorReg
	minorReg
	restReg
)

// Offsets in struct bpf_cgroup_dev_ctx. Its first word has the type of the
// device in the low half and the access in the high one.
const (
	offsetKind  = 0
	offsetMajor = 4
	offsetMinor = 8
)

// compile makes the program: each rule in turn says yes or leaves it to the
// next, the last word is no.
func compile(rules []Rule) ([]instruction, error) {
	rules, err := merge(rules)
	if err != nil {
		return nil, err
	}
	if len(rules) == 1 && rules[0].Type == All {
		return answer(1), nil
	}
	prog := []instruction{
		load(accessReg, offsetKind),
		load(majorReg, offsetMajor),
		load(minorReg, offsetMinor),
		{code: unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X, regs: kindReg | accessReg<<4},
		arith(unix.BPF_AND, kindReg, 0xffff),
		arith(unix.BPF_RSH, accessReg, 16),
	}
	for _, r := range rules {
		prog = append(prog, r.program()...)
	}
	return append(prog, answer(0)...), nil
}

// merge checks the rules and joins those of the same devices. A rule for every
// device leaves no others.
func merge(rules []Rule) ([]Rule, error) {
	var out []Rule
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return nil, err
		}
		r.Access = accessString(r.access())
		if r.Type == All {
			out = []Rule{r}
		}
		same := func(o Rule) bool {
			return o.Type == All || o.Type == r.Type && o.Major == r.Major && o.Minor == r.Minor
		}
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i].Access = accessString(out[i].access() | r.access())
			continue
		}
		out = append(out, r)
	}
	return out, nil
}

// program allows what the rule does and runs off its end otherwise.
func (r Rule) program() []instruction {
	kind := int32(unix.BPF_DEVCG_DEV_CHAR)
	if r.Type == Block {
		kind = unix.BPF_DEVCG_DEV_BLOCK
	}
	prog := []instruction{unless(kindReg, kind)}
	if r.Major != Any {
		prog = append(prog, unless(majorReg, int32(r.Major)))
	}
	if r.Minor != Any {
		prog = append(prog, unless(minorReg, int32(r.Minor)))
	}
	if r.access() != accessAll {
		prog = append(prog,
			instruction{code: unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X, regs: restReg | accessReg<<4},
			arith(unix.BPF_AND, restReg, int32(accessAll&^r.access())),
			unless(restReg, 0))
	}
	prog = append(prog, answer(1)...)
	for i := range prog { // to the rule that follows
		if prog[i].code == unix.BPF_JMP|unix.BPF_JNE|unix.BPF_K {
			prog[i].offset = int16(len(prog) - i - 1)
		}
	}
	return prog
}

func load(reg uint8, offset int16) instruction {
	return instruction{code: unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM, regs: reg | ctxReg<<4, offset: offset}
}

func arith(op, reg uint8, imm int32) instruction {
	return instruction{code: unix.BPF_ALU | op | unix.BPF_K, regs: reg, imm: imm}
}

// unless jumps if the register has another value.
func unless(reg uint8, value int32) instruction {
	return instruction{code: unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K, regs: reg, imm: value}
}

func answer(n int32) []instruction {
	return []instruction{
		{code: unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K, regs: r0, imm: n},
		{code: unix.BPF_JMP | unix.BPF_EXIT},
	}
}
