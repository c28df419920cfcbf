// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Error is a fault at one place of a manifest.
type Error struct {
	// Path is where in the JSON value the fault is, such as
	// app.isolators[2].value; empty for the manifest as a whole.
	Path string
	// Line and Column count from 1; 0 if the manifest did not come from text.
	Line, Column int
	// Text is the offending line, for faults of syntax and type only.
	Text string
	// Err is what is wrong there.
	Err error
}

// Error says where the fault is and what is wrong.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		position := fmt.Sprintf("line %d, column %d", e.Line, e.Column)
		if e.Path == "" {
			b.WriteString(position)
		} else {
			b.WriteString(" (" + position + ")")
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	if e.Text != "" {
		b.WriteString(" in " + strconv.Quote(e.Text))
	}
	return b.String()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// at puts elem, a key or an index, before the path of err.
func at(elem string, err error) error {
	if err == nil || elem == "" {
		return err
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Path: elem, Err: err}
	}
	if e.Path != "" && e.Path[0] != '[' {
		elem += "."
	}
	return &Error{Path: elem + e.Path, Err: e.Err}
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }
