// SPDX-License-Identifier: Apache-2.0

package devfilter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Any stands for every major or minor number.
const Any int64 = -1

// Types of devices.
const (
	Char  = 'c'
	Block = 'b'
	All   = 'a' // every device; only with Any, Any and "rwm"
)

// The largest numbers of the kernel's dev_t.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// ErrRule is wrapped by Validate.
var ErrRule = errors.New("invalid device rule")

// Rule allows access to the devices that it matches.
type Rule struct {
	Type         byte // Char, Block or All
	Major, Minor int64
	Access       string // of the letters r, w, m
}

// Closed are the rules of an app without devices of its own (spec apps.md 5):
// the harmless memory devices and tty with every access; terminals, /dev/console
// among them, for reading and writing.
func Closed() []Rule {
	return []Rule{
		{Char, 1, 3, "rwm"},    // null
		{Char, 1, 5, "rwm"},    // zero
		{Char, 1, 7, "rwm"},    // full
		{Char, 1, 8, "rwm"},    // random
		{Char, 1, 9, "rwm"},    // urandom
		{Char, 5, 0, "rwm"},    // tty
		{Char, 5, 2, "rw"},     // ptmx
		{Char, 136, Any, "rw"}, // pts/*
	}
}

// Open is the rule that allows everything.
func Open() []Rule { return []Rule{{All, Any, Any, "rwm"}} }

// Validate says what is wrong with the rule.
func (r Rule) Validate() error {
	switch {
	case r.Type == All:
		if r.Major != Any || r.Minor != Any || r.access() != accessAll {
			return fmt.Errorf("%w %s: type a takes no numbers and every access", ErrRule, r)
		}
	case r.Type != Char && r.Type != Block:
		return fmt.Errorf("%w %s: type must be c, b or a", ErrRule, r)
	}
	if r.Major < Any || r.Major > maxMajor || r.Minor < Any || r.Minor > maxMinor {
		return fmt.Errorf("%w %s: number out of range", ErrRule, r)
	}
	if r.Access == "" || strings.Trim(r.Access, "rwm") != "" {
		return fmt.Errorf("%w %s: access must be made of r, w and m", ErrRule, r)
	}
	return nil
}

// String is the rule as the devices controller writes it, such as "c 1:3 rwm".
func (r Rule) String() string {
	return fmt.Sprintf("%c %s:%s %s", r.Type, number(r.Major), number(r.Minor), r.Access)
}

func number(n int64) string {
	if n == Any {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

// Access bits as BPF_DEVCG_ACC_… has them.
const (
	accessMknod = 1 << iota
	accessRead
	accessWrite
	accessAll = accessMknod | accessRead | accessWrite
)

func (r Rule) access() (bits uint32) {
	for _, c := range r.Access {
		switch c {
		case 'm':
			bits |= accessMknod
		case 'r':
			bits |= accessRead
		case 'w':
			bits |= accessWrite
		}
	}
	return bits
}

func accessString(bits uint32) string {
	var s []byte
	if bits&accessRead != 0 {
		s = append(s, 'r')
	}
	if bits&accessWrite != 0 {
		s = append(s, 'w')
	}
	if bits&accessMknod != 0 {
		s = append(s, 'm')
	}
	return string(s)
}
