// SPDX-License-Identifier: Apache-2.0

package unit

import "strings"

// Nearest returns the candidate that a misspelled word most likely means, "" if
// none is near: no more than a third of its letters differ.
func Nearest(word string, candidates []string) string {
	best, at := "", len(word)/3+1
	if len(word) > 64 {
		return ""
	}
	for _, c := range candidates {
		if strings.EqualFold(c, word) {
			return c
		}
		if n := distance(strings.ToLower(word), strings.ToLower(c)); n <= at && (best == "" || n < at) {
			best, at = c, n
		}
	}
	return best
}

// distance counts the letters to insert, remove or exchange (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
