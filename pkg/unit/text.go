// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s as the value of a directive that is free text: one line, no
// specifiers, nothing that joins it to the next line.
func Text(s string) string {
	s = strings.Map(func(c rune) rune {
		// Not UTF-8, which systemd refuses, or not for one line.
		if c == utf8.RuneError || c == '\\' || unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s)
	return strings.ReplaceAll(strings.TrimSpace(s), "%", "%%")
}

// Word returns s as one word of a command line, so that the program gets
// exactly s but for specifiers, which are left to systemd. Use Literal for text
// that has none.
func Word(s string) string {
	s = strings.ReplaceAll(s, "$", "$$") // variables are not expanded
	if s != "" && strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			const hex = "0123456789abcdef"
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&0xf])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Literal escapes the percent signs of a word that has no specifiers.
func Literal(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// unsafe tells which characters need quotes. Bytes beyond ASCII are written as
// escapes: systemd decodes those to bytes, whatever they are.
func unsafe(c rune) bool {
	return c >= 0x7f || (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("%$_-+=:,./@", c)
}

// Command returns a command line, one word a line.
func Command(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Word(w)
	}
	return strings.Join(quoted, " \\\n    ")
}
