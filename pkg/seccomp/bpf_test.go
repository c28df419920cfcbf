// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ask is a system call as a filter sees it.
type ask struct {
	arch, nr uint32
	args     [6]uint64
}

func (a ask) data() []byte {
	b := binary.LittleEndian.AppendUint32(nil, a.nr)
	b = binary.LittleEndian.AppendUint32(b, a.arch)
	b = binary.LittleEndian.AppendUint64(b, 0x7fff_0000_1234) // instruction pointer
	for _, arg := range a.args {
		b = binary.LittleEndian.AppendUint64(b, arg)
	}
	return b
}

// interpret runs a program of classic BPF: everything that compilers of
// filters emit, ours and libseccomp.
func interpret(prog Program, a ask) (uint32, error) {
	var acc, index uint32
	var mem [16]uint32
	data := a.data()
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		operand := in.K
		if in.Code&unix.BPF_X != 0 {
			operand = index
		}
		jump := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if in.K%4 != 0 || in.K >= uint32(len(data)) {
				return 0, fmt.Errorf("instruction %d: load from %d", pc, in.K)
			}
			acc = binary.LittleEndian.Uint32(data[in.K:])
		case unix.BPF_LD | unix.BPF_IMM:
			acc = in.K
		case unix.BPF_LD | unix.BPF_MEM:
			acc = mem[in.K]
		case unix.BPF_LDX | unix.BPF_MEM:
			index = mem[in.K]
		case unix.BPF_ST:
			mem[in.K] = acc
		case unix.BPF_MISC | unix.BPF_TAX:
			index = acc
		case unix.BPF_MISC | unix.BPF_TXA:
			acc = index
		case unix.BPF_ALU | unix.BPF_AND, unix.BPF_ALU | unix.BPF_AND | unix.BPF_X:
			acc &= operand
		case unix.BPF_RET | unix.BPF_K:
			return in.K, nil
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X:
			jump(acc == operand)
		case unix.BPF_JMP | unix.BPF_JGE, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_X:
			jump(acc >= operand)
		case unix.BPF_JMP | unix.BPF_JGT, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_X:
			jump(acc > operand)
		case unix.BPF_JMP | unix.BPF_JSET, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_X:
			jump(acc&operand != 0)
		default:
			return 0, fmt.Errorf("instruction %d: code %#x", pc, in.Code)
		}
	}
	return 0, errors.New("program ran off its end")
}
