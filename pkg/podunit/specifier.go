// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	"fmt"
	"strings"
)

// specifiers are the letters of systemd.unit(5).
const specifiers = "aAbBCdDEfgGhHiIjJlLmMnNopPqsSTtuUvVwWyY"

// paths are the specifiers that stand for an absolute path.
const paths = "CDdEfhLSstTVyY"

// checkSpecifiers finds percent signs that systemd would not take for what was
// meant.
func checkSpecifiers(s string) error {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i++; i == len(s) || s[i] != '%' && strings.IndexByte(specifiers, s[i]) < 0 {
			return fmt.Errorf("%q is no specifier of systemd; a percent sign is written %%%%", s[i-1:min(i+1, len(s))])
		}
	}
	return nil
}

// sample puts something in place of the specifiers, to see whether the rest is
// right, and tells whether there were any.
func sample(s string) (out string, found bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '%' || i+1 == len(s):
			b.WriteByte(s[i])
			continue
		case s[i+1] == '%':
			b.WriteByte('%')
		case strings.IndexByte(paths, s[i+1]) >= 0:
			found = true
			b.WriteString("/x")
		default:
			found = true
			b.WriteByte('1')
		}
		i++
	}
	return b.String(), found
}
