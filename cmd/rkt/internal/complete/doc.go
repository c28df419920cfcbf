// SPDX-License-Identifier: Apache-2.0

// Package complete finds what may stand at the end of an unfinished command
// line of rkt. Shells ask for it on each press of the tab key, through the
// scripts of "rkt completion", which speak cobra's protocol: one candidate a
// line, a tab, a description; last a colon and a number that says what else the
// shell may do (Directive).
//
// Words: a line is the words before the one that is being completed, understood
// as far as possible; sources are what is asked for pods, images and networks.
//
// Invariants: nothing is written, no lock is waited for, nothing is printed but
// candidates, and a budget of time bounds the reading: a list that is too long
// to read in it is cut, since who presses tab waits.
package complete
