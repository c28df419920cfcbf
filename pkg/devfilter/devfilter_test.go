// SPDX-License-Identifier: Apache-2.0

package devfilter

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// device is what a process asks for.
type device struct {
	kind         byte
	major, minor int64
	access       uint32
}

// interpret runs the few instructions compile emits. The program reads device
// numbers as the kernel passes them: unsigned words.
func interpret(t testing.TB, prog []instruction, d device) bool {
	t.Helper()
	kind := uint32(unix.BPF_DEVCG_DEV_CHAR)
	if d.kind == Block {
		kind = unix.BPF_DEVCG_DEV_BLOCK
	}
	memory := map[int16]uint32{offsetKind: d.access<<16 | kind, offsetMajor: uint32(d.major), offsetMinor: uint32(d.minor)}
	var reg [11]uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		dst, src := &reg[in.regs&15], reg[in.regs>>4]
		switch in.code {
		case unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM:
			if in.regs>>4 != ctxReg {
				t.Fatalf("instruction %d loads through r%d", pc, in.regs>>4)
			}
			*dst = memory[in.offset]
		case unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X:
			*dst = src
		case unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K:
			*dst = uint32(in.imm)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			*dst &= uint32(in.imm)
		case unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K:
			*dst >>= uint32(in.imm)
		case unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K:
			if *dst != uint32(in.imm) {
				pc += int(in.offset)
			}
		case unix.BPF_JMP | unix.BPF_EXIT:
			return reg[r0] == 1
		default:
			t.Fatalf("instruction %d: code %#x", pc, in.code)
		}
	}
	t.Fatal("program ran off its end")
	return false
}

// allows is the devices controller's reading of rules: all of the access is in
// what is allowed for one way to name the device.
func allows(rules []Rule, d device) bool {
	granted := map[Rule]uint32{}
	for _, r := range rules {
		if r.Type == All {
			return true
		}
		if r.Type == d.kind && (r.Major == Any || r.Major == d.major) && (r.Minor == Any || r.Minor == d.minor) {
			granted[Rule{Type: r.Type, Major: r.Major, Minor: r.Minor}] |= r.access()
		}
	}
	for _, g := range granted {
		if d.access&^g == 0 {
			return true
		}
	}
	return false
}

func devices() (all []device) {
	for _, kind := range []byte{Char, Block} {
		for _, major := range []int64{0, 1, 5, 7, 8, 10, 136, 137, 4095} {
			for _, minor := range []int64{0, 1, 2, 3, 5, 7, 8, 9, 11, 200, 237, 1<<20 - 1} {
				for access := range uint32(accessAll + 1) {
					all = append(all, device{kind, major, minor, access})
				}
			}
		}
	}
	return all
}

func TestProgram(t *testing.T) {
	for name, rules := range map[string][]Rule{
		"none":        nil,
		"closed":      Closed(),
		"volume":      append(Closed(), Rule{Block, 8, 0, "r"}),
		"all":         Open(),
		"all of some": append(Closed(), Open()...),
		"some of all": append(Open(), Closed()...),
		"adding up":   {{Char, 10, 200, "r"}, {Char, 10, Any, "m"}, {Char, 10, 200, "w"}, {Block, Any, 1, "rw"}, {Char, Any, Any, "r"}},
		"largest":     {{Char, 4095, 1<<20 - 1, "w"}},
		"odd letters": {{Char, 1, 3, "mmrr"}},
	} {
		t.Run(name, func(t *testing.T) {
			prog, err := compile(rules)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range devices() {
				if got, want := interpret(t, prog, d), allows(rules, d); got != want {
					t.Errorf("%c %d:%d access %d: %t, want %t", d.kind, d.major, d.minor, d.access, got, want)
				}
			}
		})
	}
}

func TestClosed(t *testing.T) {
	var text []string
	for _, r := range Closed() {
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		text = append(text, r.String())
	}
	want := []string{
		"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rw", "c 136:* rw",
	}
	if !slices.Equal(text, want) {
		t.Errorf("%q", text)
	}
}

func TestInvalid(t *testing.T) {
	for _, r := range []Rule{
		{},
		{'x', 1, 1, "r"},
		{Char, 1, 1, ""},
		{Char, 1, 1, "x"},
		{Char, 1, 1, "rxw"},
		{Char, 1, 1, "r w"},
		{Char, -2, 1, "r"},
		{Char, 1, -2, "r"},
		{Char, 4096, 1, "r"},
		{Char, 1, 1 << 20, "r"},
		{Char, 1<<32 + 1, 3, "r"},
		{All, 1, Any, "rwm"},
		{All, Any, 3, "rwm"},
		{All, Any, Any, "rw"},
		{Char, 1, 3, "rw\nc 1:1 rw"},
	} {
		if err := r.Validate(); !errors.Is(err, ErrRule) {
			t.Errorf("%q: %v", r, err)
		}
		if _, err := compile([]Rule{r}); !errors.Is(err, ErrRule) {
			t.Errorf("compile %q: %v", r, err)
		}
		if err := WriteV1(t.TempDir(), []Rule{r}); !errors.Is(err, ErrRule) {
			t.Errorf("write %q: %v", r, err)
		}
	}
}

// FuzzProgram: whatever the rules, the program decides as the controller does.
func FuzzProgram(f *testing.F) {
	f.Add([]byte{0, 1, 3, 7, 1, 8, 0, 2, 0, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var rules []Rule
		for len(data) >= 4 && len(rules) < 32 {
			r := Rule{Char, int64(data[1]), int64(data[2]), accessString(uint32(data[3])%accessAll + 1)}
			if data[0]&1 != 0 {
				r.Type = Block
			}
			if r.Major == 255 {
				r.Major = Any
			}
			if r.Minor == 255 {
				r.Minor = Any
			}
			rules, data = append(rules, r), data[4:]
		}
		prog, err := compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices() {
			if got, want := interpret(t, prog, d), allows(rules, d); got != want {
				t.Fatalf("%q: %c %d:%d access %d: %t, want %t", rules, d.kind, d.major, d.minor, d.access, got, want)
			}
		}
	})
}
