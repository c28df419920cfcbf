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

// distance counts the letters to insert, remove or exchange, and neighbours to
// swap.
func distance(a, b string) int {
	at := make([][]int, len(a)+1)
	for i := range at {
		at[i] = make([]int, len(b)+1)
		at[i][0] = i
	}
	for j := range len(b) + 1 {
		at[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := at[i-1][j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			at[i][j] = min(cost, at[i-1][j]+1, at[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				at[i][j] = min(at[i][j], at[i-2][j-2]+1)
			}
		}
	}
	return at[len(a)][len(b)]
}
