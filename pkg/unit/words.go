// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors of Split.
var (
	ErrQuote  = errors.New("a quote is not closed")
	ErrEscape = errors.New("a backslash begins no known escape")
)

// Split takes a value apart as systemd does: at blanks, but not inside single
// or double quotes, with C-style escapes everywhere. Specifiers and variables
// are left as they are.
func Split(value string) (words []string, err error) {
	for {
		value = strings.TrimLeft(value, blanks)
		if value == "" {
			return words, nil
		}
		var word string
		if word, value, err = splitWord(value); err != nil {
			return nil, err
		}
		words = append(words, word)
	}
}

const blanks = " \t\n\r"

// splitWord takes one word off the front of s, which begins with no blank.
func splitWord(s string) (word, rest string, err error) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			n, err := unescape(&b, s[i+1:])
			if err != nil {
				return "", "", err
			}
			i += n
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && strings.IndexByte(blanks, c) >= 0:
			return b.String(), s[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", ErrQuote
	}
	return b.String(), "", nil
}

// unescape decodes what follows a backslash and says how many bytes that was.
func unescape(b *strings.Builder, s string) (n int, err error) {
	if s == "" {
		return 0, ErrEscape
	}
	const letters, values = `abfnrtv\"'s`, "\a\b\f\n\r\t\v\\\"' "
	if i := strings.IndexByte(letters, s[0]); i >= 0 {
		b.WriteByte(values[i])
		return 1, nil
	}
	digits, base, at := 0, 16, 1
	switch s[0] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '0', '1', '2', '3':
		digits, base, at = 3, 8, 0
	default:
		return 0, fmt.Errorf("%w: \\%c", ErrEscape, s[0])
	}
	if len(s) < at+digits {
		return 0, ErrEscape
	}
	v, err := strconv.ParseUint(s[at:at+digits], base, 32)
	if err != nil || v == 0 || v > 0x10ffff {
		return 0, fmt.Errorf("%w: \\%s", ErrEscape, s[:at+digits])
	}
	if s[0] == 'u' || s[0] == 'U' {
		b.WriteRune(rune(v))
	} else {
		b.WriteByte(byte(v))
	}
	return at + digits, nil
}
