// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"time"
)

// Limits of an entry. What exceeds one is ErrTooLarge; nothing is cut.
const (
	MaxFields    = 64
	MaxFieldName = 64
	// MaxFieldValue is the longest value of one field. Lines of an app are cut
	// far below it, by the caller.
	MaxFieldValue = 256 << 10
	// MaxEntry is the most that all fields have together, names included.
	MaxEntry = 512 << 10
)

var (
	// ErrTooLarge is an entry above one of the limits.
	ErrTooLarge = errors.New("journal entry is too large")
	// ErrClosed is a write after Close.
	ErrClosed = errors.New("journal is closed")
)

// Entry is one record.
type Entry struct {
	// Realtime is the time of day. If it carries Go's monotonic reading, as
	// that of time.Now does, Monotonic may be left 0.
	Realtime time.Time
	// Monotonic is CLOCK_MONOTONIC in microseconds; 0: derived from Realtime.
	Monotonic uint64
	// Fields in order. The same name may appear more than once.
	Fields []Field
}

// Field is one field: a name of A-Z, 0-9 and _ that does not start with a
// digit, and any bytes.
type Field struct {
	Name  string
	Value []byte
}

func (e *Entry) check() error {
	if len(e.Fields) == 0 {
		return errors.New("journal entry without fields")
	}
	if len(e.Fields) > MaxFields {
		return fmt.Errorf("%w: %d fields", ErrTooLarge, len(e.Fields))
	}
	size := 0
	for i := range e.Fields {
		if err := e.Fields[i].check(); err != nil {
			return err
		}
		size += len(e.Fields[i].Name) + len("=") + len(e.Fields[i].Value)
	}
	if size > MaxEntry {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	return nil
}

func (f *Field) check() error {
	if !isFieldName(f.Name) {
		return fmt.Errorf("invalid journal field name %q", f.Name)
	}
	if len(f.Value) > MaxFieldValue {
		return fmt.Errorf("%w: field %s has %d bytes", ErrTooLarge, f.Name, len(f.Value))
	}
	return nil
}

func isFieldName(s string) bool {
	if s == "" || len(s) > MaxFieldName || '0' <= s[0] && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
