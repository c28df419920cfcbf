// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tabStop is the distance of tab stops on every terminal.
const tabStop = 8

// table renders rows with columns aligned by tabs, at least one, so that a
// reader splits on tabs. The last column is not padded. Every row ends in a
// newline; no row at all is one empty line.
func table(rows [][]string) string {
	if len(rows) == 0 {
		return "\n"
	}
	widths := columnWidths(rows)
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			cell = cleanCell(cell)
			b.WriteString(cell)
			if i == len(row)-1 {
				break
			}
			// The column ends at the first tab stop after its widest cell.
			end := (widths[i]/tabStop + 1) * tabStop
			gap := end - utf8.RuneCountInString(cell)
			b.WriteString(strings.Repeat("\t", (gap+tabStop-1)/tabStop))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cleanCell(cell)))
		}
	}
	return widths
}

// cleanCell keeps text from a manifest from breaking the table or the
// terminal.
func cleanCell(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
