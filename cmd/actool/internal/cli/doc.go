// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of actool: one file for each command.
//
// A command parses its flags into a struct of options and runs with a context,
// [Deps] and those; tests call that directly. Nothing here exits: [Main] returns the status.
//
// # Exit statuses
//
//	0  success
//	1  the operation failed
//	2  unknown command or bad flag
//
// # Files
//
// An output file is written beside its final name and renamed when it is
// complete, so that an interrupted or failed command leaves what was there before.
package cli
