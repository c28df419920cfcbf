// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of rkt.
//
// Main resolves the command word, parses flags, runs one command and maps its
// error to an exit status. cobra holds the tree of commands, their flags and
// texts; resolving and reporting are done here because rkt's rules differ
// from cobra's: unique prefixes of command words, flags of a command before
// its word, usage on stdout, 254 for nearly every failure.
//
// Each command is one file: an options struct, a constructor that only binds
// flags, and a run function that takes context, Deps and options. Nothing is
// opened before a run function asks Deps for it, so `rkt version` touches no
// disk.
//
// Words: the *command name* in messages is the last word of the command
// (`rm: …` for `rkt image rm`). stdout is the answer, stderr everything else.
//
// Source: spec cli.md.
package cli
