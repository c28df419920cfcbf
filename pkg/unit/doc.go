// SPDX-License-Identifier: Apache-2.0

// Package unit reads and writes the text of systemd's unit files.
//
// Words: an entry is one "Key=value" of a section, with the line it begins at;
// a command line is the value of ExecStart= and its like, which systemd takes
// apart into words, expands specifiers ("%i") in, and variables ("$HOME").
//
// Invariants: whatever the text, what Text and Command write is one value that
// systemd reads back as that text. Parse never fails as a whole: what it cannot
// read it reports, and goes on with the next line.
//
// Source: systemd.syntax(7), systemd.service(5) "COMMAND LINES",
// systemd.unit(5) "SPECIFIERS".
package unit
